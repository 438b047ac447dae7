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
	// dnslinkTTL is the time between two look-ups of a domain. The system's resolver
	// does not return the record's TTL, but it obeys it, so asking it once a minute
	// is cheap.
	dnslinkTTL = time.Minute

	// dnslinkStale is how long a DNSLink is used while look-ups fail.
	dnslinkStale = time.Hour

	// dnsTimeout bounds one look-up.
	dnsTimeout = 15 * time.Second
)

// domains looks up the DNSLinks of domains. https://dnslink.dev
type domains struct {
	resolver *net.Resolver
	server   string            // the resolver's name in errors
	failed   func(Name, error) // may be nil
}

// newDomains returns domains that ask the DNS server at the address, or the system's
// resolver if it is empty.
func newDomains(server string, failed func(Name, error)) domains {
	if server == "" {
		return domains{net.DefaultResolver, "the system's resolver", failed}
	}
	return domains{&net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server)
		},
	}, "DNS server " + server, failed}
}

// ParseServer parses the address of a DNS server, and returns it with a port.
func ParseServer(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.Trim(s, "[]"), "53"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || !isHost(host) {
		return "", fmt.Errorf("%q is not the address of a DNS server: write it as 192.0.2.1 or 192.0.2.1:53", s)
	}
	return net.JoinHostPort(host, port), nil
}

func isHost(s string) bool {
	return net.ParseIP(s) != nil || label.MatchString(s) || CheckDomain(s) == nil
}

// A LookupError says that no DNSLink of a domain could be got from the resolver, which
// proves nothing about the domain.
type LookupError struct {
	Domain string
	Server string // the resolver
	Err    error
}

func (e *LookupError) Error() string {
	return fmt.Sprintf("asking %s for the DNSLink of %s: %v", e.Server, e.Domain, e.Err)
}

func (e *LookupError) Unwrap() error { return e.Err }

// lookup returns the link of a domain. It also reports a failure that is not the
// publisher's choice, since a link that is still known hides the failure from clients.
func (d domains) lookup(ctx context.Context, n Name) (link, error) {
	t, err := d.target(ctx, n)
	if err != nil {
		if d.failed != nil && ctx.Err() == nil && !errors.Is(err, fs.ErrNotExist) {
			d.failed(n, err)
		}
		return link{}, err
	}
	now := time.Now()
	return link{target: t, fresh: now.Add(dnslinkTTL), valid: now.Add(dnslinkStale)}, nil
}

// target asks the resolver for the one DNSLink of a domain.
func (d domains) target(ctx context.Context, n Name) (target, error) {
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
	defer cancel()
	texts, err := d.resolver.LookupTXT(ctx, dnslinkLabel+n.domain+".")
	if failed, ok := errors.AsType[*net.DNSError](err); ok && failed.IsNotFound {
		return target{}, fmt.Errorf("%s has no DNSLink, which would be a TXT record of %s%s: %w", n, dnslinkLabel, n, fs.ErrNotExist)
	}
	if err != nil {
		return target{}, &LookupError{n.domain, d.server, err}
	}
	t, err := parseTexts(texts)
	if errors.Is(err, fs.ErrNotExist) {
		return target{}, fmt.Errorf("the DNSLink of %s from %s: %w", n, d.server, err)
	}
	if err != nil {
		return target{}, &LookupError{n.domain, d.server, err}
	}
	return t, nil
}

// parseTexts parses the one DNSLink among TXT records. Two are an error, since they are
// not ordered.
func parseTexts(texts []string) (target, error) {
	var links []string
	for _, s := range texts {
		if value, ok := strings.CutPrefix(s, dnslinkKey); ok && (isOnIPFS(value) || isCID(value)) {
			links = append(links, value)
		}
	}
	switch len(links) {
	case 0:
		return target{}, fmt.Errorf("it has no TXT record %s/ipfs/<cid> or %[1]s/ipns/<key>: %w", dnslinkKey, fs.ErrNotExist)
	case 1:
		if isCID(links[0]) { // the form of old records
			links[0] = "/ipfs/" + links[0]
		}
		t, err := parseTarget(links[0])
		if err != nil {
			return target{}, fmt.Errorf("%w: %w", err, errUseless)
		}
		return t, nil
	}
	return target{}, fmt.Errorf("there are %d TXT records with a DNSLink (%s), and one is allowed: to replace a record, remove the old one first", len(links), quoted(links))
}

// maxQuoted is how many records an error quotes.
const maxQuoted = 4

func quoted(links []string) string {
	var s []string
	for _, l := range links[:min(len(links), maxQuoted)] {
		s = append(s, fmt.Sprintf("%.100q", l))
	}
	return strings.Join(s, ", ")
}

func isOnIPFS(s string) bool {
	return strings.HasPrefix(s, "/ipfs/") || strings.HasPrefix(s, "/ipns/")
}

func isCID(s string) bool {
	_, err := cid.Decode(s)
	return err == nil
}
