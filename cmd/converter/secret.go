package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// placeholder matches {env.NAME} and {file.PATH}, as the Caddyfile spells them.
var placeholder = regexp.MustCompile(`\{(env|file)\.([^{}]+)\}`)

const maxSecret = 64 << 10 // bytes of a file

// expandSecret replaces the placeholders in a token or header, so that the secret
// itself need not be on the command line. Errors do not quote it.
func expandSecret(s string) (string, error) {
	var failed error
	expanded := placeholder.ReplaceAllStringFunc(s, func(match string) string {
		parts := placeholder.FindStringSubmatch(match)
		value, err := readSecret(parts[1], parts[2])
		if err != nil && failed == nil {
			failed = err
		}
		return value
	})
	return expanded, failed
}

func readSecret(kind, name string) (string, error) {
	if kind == "env" {
		value := os.Getenv(name)
		if value == "" {
			return "", fmt.Errorf("the environment variable %s is not set", name)
		}
		return value, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return "", err
	}
	value := strings.TrimRight(string(data), "\r\n")
	if value == "" {
		return "", fmt.Errorf("the file %s is empty", name)
	}
	return value, nil
}
