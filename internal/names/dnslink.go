package names

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/ipfs/go-cid"
)

const (
	dnslinkLabel = "_dnslink."
	dnslinkKey   = "dnslink="
)

const (
	// dnslinkTTL is how long a DNSLink is believed. The system's resolver, which
	// knows how to ask wherever this runs, does not tell the TTL; but it obeys
	// that itself, so that asking it once a minute costs no more than that.
	dnslinkTTL = time.Minute

	// dnslinkStale is how long a DNSLink is used where no resolver answers.
	dnslinkStale = time.Hour

	// dnsLimit is how long a resolver may take.
	dnsLimit = 15 * time.Second
)

// domains looks up what domains stand for. https://dnslink.dev
type domains struct{ *net.Resolver }

// newDomains asks the DNS server at the address, or the system's if it is empty.
func newDomains(server string) domains {
	if server == "" {
		return domains{net.DefaultResolver}
	}
	return domains{&net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server)
		},
	}}
}

// ParseServer reads the address of a DNS server, and returns it with a port.
func ParseServer(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.Trim(s, "[]"), "53"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || !isHost(host) {
		return "", fmt.Errorf("%q is no address of a DNS server: 192.0.2.1 and 192.0.2.1:53 are", s)
	}
	return net.JoinHostPort(host, port), nil
}

func isHost(s string) bool {
	return net.ParseIP(s) != nil || label.MatchString(s) || CheckDomain(s) == nil
}

func (d domains) lookup(ctx context.Context, n Name) (link, error) {
	ctx, cancel := context.WithTimeout(ctx, dnsLimit)
	defer cancel()
	texts, err := d.LookupTXT(ctx, dnslinkLabel+n.domain+".")
	if err != nil {
		return link{}, dnsError(n, err)
	}
	t, err := parseTexts(texts)
	if err != nil {
		return link{}, fmt.Errorf("the DNSLink of %s: %w", n, err)
	}
	now := time.Now()
	return link{t, now.Add(dnslinkTTL), now.Add(dnslinkStale)}, nil
}

func dnsError(n Name, err error) error {
	if failed, ok := errors.AsType[*net.DNSError](err); ok && failed.IsNotFound {
		return fmt.Errorf("%s has no DNSLink, which is a TXT record of %s%s: %w", n, dnslinkLabel, n, fs.ErrNotExist)
	}
	return fmt.Errorf("looking up the DNSLink of %s: %w", n, err)
}

// parseTexts reads the one DNSLink among TXT records. Of two, nobody can say
// which is meant.
func parseTexts(texts []string) (target, error) {
	var links []string
	for _, s := range texts {
		if value, ok := strings.CutPrefix(s, dnslinkKey); ok && (isOnIPFS(value) || isCID(value)) {
			links = append(links, value)
		}
	}
	switch len(links) {
	case 0:
		return target{}, fmt.Errorf("no TXT record is %s/ipfs/<cid> or %[1]s/ipns/<key>: %w", dnslinkKey, fs.ErrNotExist)
	case 1:
		if isCID(links[0]) { // as it once was
			links[0] = "/ipfs/" + links[0]
		}
		t, err := parseTarget(links[0])
		if err != nil {
			return target{}, fmt.Errorf("%w: %w", err, errUseless)
		}
		return t, nil
	}
	return target{}, fmt.Errorf("there are %d, and only one can be right", len(links))
}

func isOnIPFS(s string) bool {
	return strings.HasPrefix(s, "/ipfs/") || strings.HasPrefix(s, "/ipns/")
}

func isCID(s string) bool {
	_, err := cid.Decode(s)
	return err == nil
}
