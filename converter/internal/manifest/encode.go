package manifest

import (
	"bytes"
	"encoding/json"
)

// Encode writes a manifest, or what else is JSON, without escaping what need not
// be.
func Encode(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(value)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
