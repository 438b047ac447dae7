package gateway

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
)

// A Format is a form in which gateways give content.
// https://specs.ipfs.tech/http-gateways/trustless-gateway/
type Format int

const (
	// Plain is a file as it is. Some gateways do not serve it.
	Plain Format = iota

	// CAR is the blocks on the path to a file or directory, and the blocks of that.
	CAR

	// Raw is one block. Every trustless gateway serves it.
	Raw

	// IPNSRecord is the signed record of an IPNS key.
	IPNSRecord

	formats = iota
)

// ErrRefused says that a gateway does not serve a format.
var ErrRefused = errors.New("the gateway does not serve this format")

// ask requests the format in the query and in the header, since some gateways read
// only one of them.
func (f Format) ask(query url.Values, header http.Header) {
	switch f {
	case CAR:
		query.Set("format", "car")
		query.Set("car-version", "1")
		query.Set("car-order", "dfs")
		query.Set("car-dups", "y")
		header.Set("Accept", carType+";version=1;order=dfs;dups=y")
	case Raw:
		query.Set("format", "raw")
		header.Set("Accept", rawType)
	case IPNSRecord:
		query.Set("format", "ipns-record")
		header.Set("Accept", ipnsType)
	}
}

const (
	carType  = "application/vnd.ipld.car"
	rawType  = "application/vnd.ipld.raw"
	ipnsType = "application/vnd.ipfs.ipns-record"
)

// check returns ErrRefused for an answer in another format.
func (f Format) check(resp *http.Response) error {
	want := map[Format]string{CAR: carType, Raw: rawType, IPNSRecord: ipnsType}[f]
	if want == "" || resp.StatusCode != http.StatusOK {
		return nil
	}
	got, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || got != want {
		return fmt.Errorf("%q in answer to a request for %s: %w", resp.Header.Get("Content-Type"), want, ErrRefused)
	}
	return nil
}

// String returns the name of the format in logs and traces.
func (f Format) String() string {
	return [formats]string{Plain: "plain", CAR: "car", Raw: "raw", IPNSRecord: "ipns-record"}[f]
}
