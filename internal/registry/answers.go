package registry

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/denylist"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
)

// answerTo returns the answer to an error of the library: a *protocolError or a
// *Failure. The answer to something that is absent, or lacking everywhere, is notFound.
func (g *Registry) answerTo(q request, err error, notFound *protocolError) error {
	e, ok := errors.AsType[*images.Error](err)
	if !ok {
		return err // an answer already
	}
	fail := func(status int, code, message string) error {
		return &Failure{Status: status, RetryAfter: e.RetryAfter, Err: err, code: code, message: message}
	}
	switch e.Class {
	case images.Absent, images.Lacking:
		return notFound
	case images.Denied:
		return g.refuse(q, e.Err)
	case images.Broken:
		return unusable(q, err)
	case images.False:
		if q.kind == kindManifest {
			return &protocolError{codeManifestInvalid, err.Error()}
		}
		return fail(http.StatusBadGateway, nameUnavailable, "the content at this address is not what its name says, wherever it comes from")
	case images.Gone:
		return fail(StatusClientClosedRequest, nameUnknown, "the client left")
	case images.Late:
		return fail(http.StatusGatewayTimeout, nameUnavailable, "no IPFS gateway of this registry answered in time")
	case images.Full:
		return fail(http.StatusServiceUnavailable, nameUnavailable, "too many requests need much work at the moment: try again")
	case images.Unavailable:
		switch e.Status {
		case http.StatusTooManyRequests:
			return fail(e.Status, nameTooMany, "the IPFS gateways of this registry want to be asked later")
		case http.StatusServiceUnavailable:
			return fail(e.Status, nameUnavailable, "the IPFS gateways of this registry want to be asked later")
		}
		return fail(http.StatusBadGateway, nameUnavailable, "no IPFS gateway of this registry could answer")
	}
	return fail(http.StatusInternalServerError, nameUnknown, "the registry failed")
}

// refuse logs the rule by which the lists refuse a request. The rule is the business of
// the list's keeper, and not of the client.
func (g *Registry) refuse(q request, err error) error {
	g.Hooks.Refused(err)
	answer, rule := &protocolError{codeNotAllowed, "this image is " + err.Error()}, zap.Skip()
	if denied, ok := errors.AsType[*denylist.Denied](err); ok {
		rule = zap.String("rule", denied.Rule())
		answer.code = codeGone
		if denied.Status == http.StatusUnavailableForLegalReasons {
			answer.code = codeLegal
		}
	}
	if c := g.Logger.Check(zap.DebugLevel, "refused"); c != nil {
		c.Write(q.Fields(rule, zap.Error(err))...)
	}
	return answer
}

// unusable is the answer that says why no client takes an image, and what to do.
func unusable(q request, err error) error {
	ref := q.Image.Root.String()
	if name, failed := cidname.Format(q.Image.Root); failed == nil {
		ref = name
	}
	return &protocolError{codeManifestInvalid, fmt.Sprintf("%v: `converter repair %s` writes the image anew", err, path.Join(ref, q.Image.Name))}
}

// finish writes a *protocolError, and returns any other error.
func (g *Registry) finish(w http.ResponseWriter, r Request, err error) error {
	if e, ok := errors.AsType[*protocolError](err); ok {
		return writeError(w, r.Request, e.code, e.message)
	}
	if f, ok := errors.AsType[*Failure](err); ok && f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((f.RetryAfter+time.Second-1)/time.Second), 10))
	}
	return err
}

func (r Request) asked(q request) {
	if r.Observation != nil {
		r.Observation.Asked(q.subject())
	}
}

func (r Request) from(o images.Origin) {
	if r.Observation != nil && o != "" {
		r.Observation.From(o)
	}
}
