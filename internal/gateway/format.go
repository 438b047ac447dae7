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
	// Plain is a file as it is, which some gateways do not serve.
	Plain Format = iota

	// CAR is the blocks that lead to what was asked for, and those of it.
	CAR

	// Raw is one block. Every gateway that is called trustless serves it.
	Raw

	// IPNSRecord is what the owner of a key last said that it stands for.
	IPNSRecord

	formats = iota
)

// ErrRefused says that a gateway does not serve a format.
var ErrRefused = errors.New("this form is not served")

// ask adds to a request what asks for the format: once in the query and once in
// the header, since there are gateways that look at one only.
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

// check reports whether an answer is in another form.
func (f Format) check(resp *http.Response) error {
	want := map[Format]string{CAR: carType, Raw: rawType, IPNSRecord: ipnsType}[f]
	if want == "" || resp.StatusCode != http.StatusOK {
		return nil
	}
	got, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || got != want {
		return fmt.Errorf("%q where %s was asked for: %w", resp.Header.Get("Content-Type"), want, ErrRefused)
	}
	return nil
}

// String is what people call the format.
func (f Format) String() string {
	return [formats]string{Plain: "plain", CAR: "car", Raw: "raw", IPNSRecord: "ipns-record"}[f]
}
