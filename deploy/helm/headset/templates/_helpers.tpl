{{- /* What the templates share, and what a chart of your own may include: headset.sidecar and
headset.volumes. Each takes the context of this chart (`.Subcharts.headset` from outside). */}}

{{- define "headset.name" -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "headset.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "headset.labels" -}}
{{ include "headset.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "headset.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "headset.name" .) }}
{{- end }}

{{- define "headset.configMap" -}}
{{- .Values.existingConfigMap | default (printf "%s-headset" (include "headset.name" .)) }}
{{- end }}

{{- define "headset.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- /* The sidecar, an item of `initContainers`: put it before those that make calls. */}}
{{- define "headset.sidecar" -}}
- name: headset
  image: {{ include "headset.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  # Makes it a sidecar: started before the application, stopped after it.
  restartPolicy: Always
  args: ["run", "--config", "/etc/headset/headset.toml"]
  {{- with .Values.env }}
  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - name: admin
      containerPort: {{ .Values.admin.port }}
  startupProbe:
    httpGet: { path: /startupz, port: admin }
    periodSeconds: 1
    failureThreshold: 60
  readinessProbe:
    httpGet: { path: /readyz, port: admin }
    periodSeconds: 5
  livenessProbe:
    httpGet: { path: /livez, port: admin }
    periodSeconds: 10
    failureThreshold: 3
  resources:
    {{- toYaml .Values.resources | nindent 4 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    seccompProfile: { type: RuntimeDefault }
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: { drop: ["ALL"] }
  volumeMounts:
    - name: headset-config
      mountPath: /etc/headset
      readOnly: true
    - name: headset-secret
      mountPath: /run/secrets/headset
      readOnly: true
    - name: headset-run
      mountPath: /run/headset
    {{- if .Values.store.enabled }}
    - name: headset-store
      mountPath: /var/lib/headset
    {{- end }}
{{- end }}

{{- /* Its volumes, items of `volumes`. The pod needs an fsGroup, to which the secret is readable. */}}
{{- define "headset.volumes" -}}
- name: headset-config
  configMap:
    name: {{ include "headset.configMap" . }}
- name: headset-secret
  secret:
    secretName: {{ .Values.secret.name }}
    defaultMode: 0440
- name: headset-run
  emptyDir: { medium: Memory, sizeLimit: 1Mi }
{{- end }}

{{- /* A whole pod template. */}}
{{- define "headset.pod" -}}
metadata:
  labels:
    {{- include "headset.selector" . | nindent 4 }}
    headset/sidecar: "true"
    {{- with .Values.workload.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if or .Values.scrapeAnnotations .Values.workload.podAnnotations }}
  annotations:
    {{- if .Values.scrapeAnnotations }}
    prometheus.io/scrape: "true"
    prometheus.io/port: {{ .Values.admin.port | quote }}
    prometheus.io/path: /metrics
    {{- end }}
    {{- with .Values.workload.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
spec:
  {{- if has .Values.workload.kind (list "Job" "CronJob") }}
  restartPolicy: Never
  {{- end }}
  serviceAccountName: {{ include "headset.serviceAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.workload.terminationGracePeriodSeconds }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  initContainers:
    {{- include "headset.sidecar" . | nindent 4 }}
  containers:
    -
      {{- $image := required "application.image is missing: the image of the application that makes the calls (or workload.kind: None)" .Values.application.image }}
      {{- $known := dict "name" "application" "image" $image }}
      {{- toYaml (mergeOverwrite $known (deepCopy .Values.application)) | nindent 6 }}
  volumes:
    {{- include "headset.volumes" . | nindent 4 }}
  {{- with .Values.workload.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.workload.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.workload.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
