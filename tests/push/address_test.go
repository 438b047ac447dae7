package push

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// The converter asks a registry for the address of an image, with the credentials of docker
// login, and prints the address that the registry sent when the image was pushed.
func TestConverterAsksForAddress(t *testing.T) {
	harness.Parallel(t)
	caddy := harness.NewCaddy(t, fmt.Sprintf(`basic_auth {
		alice $2a$14$bV36JA1rsB0br.veycMLK.J5EwyHqf0QHIwMSd/HHG7YodQhItjDi
	}
	ipfs_registry {
		store %s
		push
	}`, t.TempDir()))
	credentials := base64.StdEncoding.EncodeToString([]byte("alice:correct horse"))
	login := t.TempDir()
	harness.WriteFile(t, filepath.Join(login, "config.json"), fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, caddy.Host(), credentials))
	name := func(image string, env ...string) *exec.Cmd {
		cmd := harness.Converter(t, os.DevNull, "name", image)
		cmd.Env = append(os.Environ(), env...)
		return cmd
	}
	const index = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
	for _, repository := range []string{"team/app", "team/other"} {
		pushed := send(t, 201, "PUT", caddy.URL+"/v2/"+repository+"/manifests/v1", index, "Authorization", "Basic "+credentials)
		address, found := strings.CutPrefix(pushed.Header.Get("X-Ipfs-Path"), "/ipfs/")
		for _, reference := range []string{":v1", "@" + harness.DigestOf([]byte(index))} {
			image := caddy.Host() + "/" + repository + reference
			if printed := harness.Run(t, name(image, "DOCKER_CONFIG="+login)); !found || !strings.Contains(printed, address) {
				t.Errorf("the push of %s told %q, and the converter prints\n%s", image, address, printed)
			}
		}
	}
	harness.MustRefuse(t, name(caddy.Host()+"/team/app:v2", "DOCKER_CONFIG="+login), "has no team/app:v2: there is v1")
	harness.MustRefuse(t, name(caddy.Host()+"/team/app:v1", "DOCKER_CONFIG="+t.TempDir()), "refuses access")
}

// The converter reports an error if a registry sends no address, or one without the image.
func TestConverterChecksAddress(t *testing.T) {
	harness.Parallel(t)
	const index = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
	registry := func(header string) *harness.Caddy {
		return harness.NewCaddy(t, `@image path /v2/app/manifests/v1
	header @image {
		Content-Type application/vnd.oci.image.index.v1+json
		`+header+`
	}
	respond /v2/ 200
	respond @image `+"`"+index+"`"+`
	respond 404`)
	}
	const elsewhere = "X-Ipfs-Path /ipfs/bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"
	for header, says := range map[string]string{
		"":                     "sends no address on IPFS",
		"X-Ipfs-Path /ipfs/ap": `sends the address "ap"`,
		elsewhere:              "does not lead to the image",
	} {
		cmd := harness.Converter(t, os.DevNull, "name", registry(header).Host()+"/app:v1")
		harness.MustRefuse(t, cmd, says)
	}
}
