// A Go client as an application that knows nothing of headset. Argument: the version of HTTP.
// Prints one line of JSON.
package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

const dummy = "Basic ZHVtbXk6ZHVtbXk="

func get(client *http.Client, url string) (*http.Response, []byte, error) {
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return nil, nil, err
	}
	request.Header.Set("Authorization", dummy)
	answer, err := client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer, body, err
}

func must(holds bool, what ...interface{}) {
	if !holds {
		fmt.Fprintln(os.Stderr, what...)
		os.Exit(1)
	}
}

func main() {
	client := http.DefaultClient
	if os.Args[1] == "1" {
		without := map[string]func(string, *tls.Conn) http.RoundTripper{}
		client = &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSNextProto: without}}
	}
	answer, body, err := get(client, "https://api.exotel.com/_sim/echo")
	must(err == nil, err)
	must(answer.ProtoMajor == int(os.Args[1][0]-'0'), answer.Proto)
	var echo struct{ Authorization []string }
	must(json.Unmarshal(body, &echo) == nil, "no echo")
	must(len(echo.Authorization) == 1 && echo.Authorization[0] != dummy, len(echo.Authorization), "credentials arrived")
	other, _, err := get(client, os.Getenv("TRUSTED"))
	must(err == nil && other.StatusCode == 200, err)
	_, _, err = get(client, os.Getenv("UNKNOWN"))
	must(err != nil && strings.Contains(err.Error(), "x509"), "an unknown certificate:", err)
	did := answer.Proto + ": one credential; another site: its own certificate, no credential"
	line, _ := json.Marshal(map[string]string{"did": did})
	fmt.Println(string(line))
}
