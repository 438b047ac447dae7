package denylist

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
)

// A builder makes a list from its lines.
type builder struct {
	list     *List
	content  pile
	names    pile
	doubles  pile
	interned map[action]uint32 // index of each action in list.actions
	status   int               // HTTP status of rules without a hint
}

var errNoRule = errors.New("not a rule: a rule begins with /ipfs/, /ipns/ or //, or with ! and one of them")

// add reads a line: a rule and hints after it.
func (b *builder) add(line []byte, number int) error {
	rule, hints := string(line), ""
	if i := strings.IndexAny(rule, " \t"); i >= 0 {
		rule, hints = rule[:i], rule[i:]
	}
	a := action{status: b.status}
	for hint := range strings.FieldsSeq(hints) {
		if i := strings.IndexAny(hint, ":="); i >= 0 {
			a.status = status(a.status, hint[:i], hint[i+1:])
		}
	}
	switch rule[0] {
	case '!', '+', '-': // nopfs knows all three
		a.allow, rule = true, rule[1:]
	}
	if err := b.rule(rule, a, uint32(number)); err != nil {
		return fmt.Errorf("%s: %w", quote(rule), err)
	}
	return nil
}

func (b *builder) rule(rule string, a action, line uint32) error {
	if hash, ok := strings.CutPrefix(rule, "//"); ok {
		return b.addHashed(hash, a, line)
	}
	rest, ok := strings.CutPrefix(rule, "/")
	namespace, rest, _ := strings.Cut(rest, "/")
	of, path, _ := strings.Cut(rest, "/")
	if !ok || of == "" {
		return errNoRule
	}
	if err := a.setPath(path); err != nil {
		return err
	}
	switch namespace {
	case "ipfs", "ipld":
		k, err := parseContent(of)
		if err != nil {
			return err
		}
		if !harmless[k] {
			b.content.add(k, line, b.intern(a))
		}
	case "ipns":
		b.names.add(newName(of).key, line, b.intern(a))
	default:
		return errNoRule
	}
	return nil
}

// setPath sets the path of a rule. A "*" at its end that is not percent-encoded is a
// wildcard.
func (a *action) setPath(raw string) error {
	raw, a.prefix = strings.CutSuffix(raw, "*")
	path, err := url.PathUnescape(raw)
	if err != nil {
		return err
	}
	a.path = strings.Trim(path, "/")
	return nil
}

// addHashed adds the rule of a double hash: a multihash in base58, or a sha2-256 digest in
// hex as in badbits. A hash that is valid in both spellings adds two rules.
func (b *builder) addHashed(hash string, a action, line uint32) error {
	var legacy key
	n, notHex := hex.Decode(legacy[:], []byte(hash[:min(len(hash), hex.EncodedLen(len(legacy)))]))
	isLegacy := notHex == nil && hex.EncodedLen(n) == len(hash) && n == len(legacy)
	if isLegacy {
		b.doubles.add(legacy, line, b.intern(a))
		if strings.Contains(hash, "0") {
			return nil // "0" is not a digit of base58
		}
	}
	modern, err := b.function(hash)
	if err == nil {
		b.doubles.add(modern, line, b.intern(a))
	} else if !isLegacy {
		return err
	}
	return nil
}

// maxFunctions bounds the cost of a check, which uses all hash functions of a list.
const maxFunctions = 16

// function reads a double hash that is a multihash, and adds its hash function to the
// list's.
func (b *builder) function(hash string) (key, error) {
	if k, ok := parseQm(hash); ok {
		return k, nil
	}
	h, err := mh.FromB58String(hash)
	if err != nil {
		return key{}, errors.New("a double hash is a multihash in base58, or a sha2-256 digest in hex")
	}
	decoded, err := mh.Decode(h)
	if err != nil {
		return key{}, fmt.Errorf("reading the double hash: %w", err)
	}
	f := function{decoded.Code, decoded.Length}
	if slices.Contains(b.list.functions, f) {
		return keyOf(h), nil
	}
	if f.code == mh.IDENTITY {
		return key{}, errors.New("the double hash has the identity function, which hashes nothing")
	}
	if _, err := mh.Sum(nil, f.code, f.length); err != nil {
		return key{}, fmt.Errorf("the hash function 0x%x with %d bytes is not known", f.code, f.length)
	}
	if len(b.list.functions) == maxFunctions {
		return key{}, fmt.Errorf("more than %d hash functions in one list", maxFunctions)
	}
	b.list.functions = append(b.list.functions, f)
	return keyOf(h), nil
}

func (b *builder) intern(a action) uint32 {
	if n := len(b.list.actions); n > 0 && b.list.actions[n-1] == a {
		return uint32(n - 1)
	}
	at, ok := b.interned[a]
	if !ok {
		at = uint32(len(b.list.actions))
		b.interned[a] = at
		b.list.actions = append(b.list.actions, a)
	}
	return at
}

func (b *builder) finish() *List {
	b.list.content = b.content.table()
	b.list.names = b.names.table()
	b.list.hashed = b.doubles.table()
	return b.list
}

// parseContent reads the CID of a rule: in any base, as spelled in an image name, or as a
// bare multihash, which the specification allows.
func parseContent(s string) (key, error) {
	if k, ok := parseQm(s); ok {
		return k, nil
	}
	if c, err := cid.Decode(s); err == nil {
		return keyOf(c.Hash()), nil
	}
	if c, err := cidname.Parse(s); err == nil {
		return keyOf(c.Hash()), nil
	}
	h, err := mh.FromB58String(s)
	if err != nil {
		return key{}, fmt.Errorf("%s is not a CID", quote(s))
	}
	return keyOf(h), nil
}

// harmless are the empty files and directories. A rule against one would deny everything
// that contains it, and is a mistake, which nopfs ignores as well.
var harmless = map[key]bool{}

func init() {
	for _, s := range []string{
		"QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn", // an empty directory
		"bafyaabakaieac", // an empty directory, inline
		"QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH",              // an empty file
		"bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", // no bytes
		"bafkqaaa", // no bytes, inline
		"bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua",   // dag-cbor
		"baguqeeraiqjw7i2vwntyuekgvulpp2det2kpwt6cd7tx5ayqybqpmhfk76fa", // dag-json
	} {
		harmless[keyOf(cid.MustParse(s).Hash())] = true
	}
}

// quote quotes a part of a line for an error, shortened for logs.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%.*q…", most, s)
	}
	return fmt.Sprintf("%q", s)
}

// status returns the HTTP status after a hint. The specification requires that unknown
// hints are ignored.
func status(before int, name, value string) int {
	if name != "gateway_status" {
		return before
	}
	switch value {
	case "410":
		return http.StatusGone
	case "451":
		return http.StatusUnavailableForLegalReasons
	}
	return before
}
