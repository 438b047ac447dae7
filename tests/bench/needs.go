package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// programs are what the measures run, with the Debian package of each.
var programs = map[string]string{
	"crane": "", "distribution": "", "ipfs": "", "olareg": "", // tests/setup.sh builds them into bin/
	"docker-registry": "docker-registry",
	"gzip":            "gzip",
	"nginx":           "nginx-light",
	"openssl":         "openssl",
	"skopeo":          "skopeo",
	"wrk":             "wrk",
}

// addresses are those that the measures listen on.
var addresses = []string{
	ourAddress, peerAddress, delayAddress, limitAddress, kuboAPI, kuboGateway, nodeAPI, nodeGateway, dockerRegistryAddress, distributionAddress, olaregAddress, nginxAddress,
}

// checkNeeds fails if a program that the parts need is missing or an address is taken, so that a bench does
// not fail after half an hour.
func checkNeeds(chosen []part) error {
	var missing, packages []string
	for _, program := range slices.Sorted(maps.Keys(programs)) {
		if !slices.ContainsFunc(chosen, func(p part) bool { return p.needs == nil || slices.Contains(p.needs, program) }) {
			continue
		}
		pkg := programs[program]
		find := exec.LookPath
		if pkg == "" {
			program = "bin/" + program
			find = func(file string) (string, error) { _, err := os.Stat(file); return file, err }
		}
		if _, err := find(program); err != nil {
			missing = append(missing, program)
			if pkg != "" {
				packages = append(packages, pkg)
			}
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing: %s; tests/setup.sh builds those in bin, and on Debian the others come with: apt-get install %s", strings.Join(missing, " "), strings.Join(packages, " "))
	}
	var taken []error
	for _, address := range addresses {
		l, err := net.Listen("tcp", address)
		if err != nil {
			taken = append(taken, err)
			continue
		}
		taken = append(taken, l.Close())
	}
	return errors.Join(taken...)
}

// multiaddr returns an address in the form that Kubo's configuration has.
func multiaddr(address string) string {
	ip, port, _ := strings.Cut(address, ":")
	return "/ip4/" + ip + "/tcp/" + port
}
