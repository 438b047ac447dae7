package denylist

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// The specification's limits in bytes. A longer header is not taken for one, and a
// longer line is an error.
const (
	maxHeader = 1 << 20
	maxLine   = 2 << 20
)

// Parse reads a deny list. Errors name the line, but not the file.
func Parse(file string, r io.Reader) (*List, error) {
	in := bufio.NewReaderSize(r, maxLine)
	skipped, hints, err := readHeader(in)
	if err != nil {
		return nil, err
	}
	b := builder{list: &List{file: file}, interned: map[action]uint32{}, status: http.StatusGone}
	for name, value := range hints {
		b.status = status(b.status, name, value)
	}
	if err := eachLine(in, skipped, b.add); err != nil {
		return nil, err
	}
	return b.finish(), nil
}

// readHeader reads the YAML header before a line "---", if there is such a line, and
// returns the number of lines up to and including it.
func readHeader(in *bufio.Reader) (lines int, hints map[string]string, err error) {
	start, err := in.Peek(maxHeader)
	if err != nil && err != io.EOF {
		return 0, nil, err
	}
	whole := err == io.EOF
	for at := 0; at < len(start); {
		line, _, ended := bytes.Cut(start[at:], []byte("\n"))
		if !ended && !whole {
			break
		}
		lines++
		if string(bytes.TrimRight(line, " \t\r")) != "---" {
			at += len(line) + len("\n")
			continue
		}
		if hints, err = parseHeader(start[:at]); err != nil {
			return 0, nil, err
		}
		_, err = in.Discard(min(at+len(line)+len("\n"), len(start)))
		return lines, hints, err
	}
	return 0, nil, nil
}

// parseHeader checks the version in a header, and returns the hints for all rules. Other
// keys are for people. It knows YAML mappings with one key on each line, and hints in
// braces.
func parseHeader(text []byte) (hints map[string]string, err error) {
	hints = map[string]string{}
	section, seen := "", map[string]bool{}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(" "+strings.TrimRight(line, " \t\r\n"), " #")
		if strings.TrimSpace(line) == "" {
			continue
		}
		if nested := line[1:]; strings.TrimLeft(nested, " \t") != nested {
			if name, value, ok := keyValue(nested); ok && section == "hints" {
				hints[name] = value
			}
			continue
		}
		name, value, ok := keyValue(line)
		if !ok && !strings.HasPrefix(line, " -") {
			return nil, fmt.Errorf("the header, before ---: %.60q is not of the form `name: value`", line[1:])
		}
		if ok && seen[name] {
			return nil, fmt.Errorf("the header, before ---: %.60q occurs twice", name)
		}
		seen[name] = true
		switch section = name; {
		case name == "version" && value != "1":
			return nil, fmt.Errorf("the header, before ---: version %.20s is not known, only version 1 is", value)
		case name == "hints":
			for pair := range strings.SplitSeq(strings.Trim(value, "{}"), ",") {
				if name, value, ok := keyValue(pair); ok {
					hints[name] = value
				}
			}
		}
	}
	return hints, nil
}

// keyValue splits `name: value`. Either may be in quotes.
func keyValue(s string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(s, ":")
	if value != "" && !strings.HasPrefix(value, " ") && !strings.HasPrefix(value, "\t") {
		return "", "", false
	}
	clean := func(s string) string { return strings.Trim(strings.TrimSpace(s), `"'`) }
	return clean(name), clean(value), ok
}

// eachLine calls add for each line except empty lines and comments, without the space
// around it. skipped is the number of lines before the first.
func eachLine(in *bufio.Reader, skipped int, add func(line []byte, number int) error) error {
	for number := skipped + 1; ; number++ {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("line %d: longer than %d bytes", number, in.Size())
		}
		if err != nil && err != io.EOF {
			return err
		}
		if text := bytes.TrimSpace(line); len(text) > 0 && text[0] != '#' {
			if err := add(text, number); err != nil {
				return fmt.Errorf("line %d: %w", number, err)
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}
