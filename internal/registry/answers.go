package registry

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/denylist"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/repository"
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
		return clientLeft(err)
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

// answerToPush returns the answer to an error of a repository or of a request's body.
func (g *Registry) answerToPush(r Request, q request, err error) error {
	if read, ok := errors.AsType[*repository.ReadError](err); ok {
		return answerToBody(err, read.Err)
	}
	if mismatch, ok := errors.AsType[*repository.DigestError](err); ok {
		return &protocolError{codeDigestInvalid, mismatch.Error()}
	}
	if missing, ok := errors.AsType[*repository.MissingError](err); ok {
		return &protocolError{codeManifestBlobUnknown, missing.Error()}
	}
	if outside, ok := errors.AsType[*repository.RangeError](err); ok {
		return &protocolError{codeUploadRange, outside.Error()}
	}
	if invalid, ok := errors.AsType[*repository.InvalidError](err); ok {
		return &protocolError{codeManifestInvalid, invalid.Error()}
	}
	if large, ok := errors.AsType[*repository.TooLargeError](err); ok {
		if q.kind == kindManifest {
			return &protocolError{codeManifestTooLarge, large.Error()}
		}
		return &protocolError{codeBlobTooLarge, large.Error()}
	}
	switch {
	case errors.Is(err, repository.ErrNameUnknown):
		return &protocolError{codeNameUnknown, err.Error()}
	case errors.Is(err, repository.ErrManifestUnknown):
		return manifestUnknown(q)
	case errors.Is(err, repository.ErrBlobUnknown):
		return blobUnknown(q)
	case errors.Is(err, repository.ErrUploadUnknown):
		return &protocolError{codeUploadUnknown, err.Error()}
	case errors.Is(err, repository.ErrUploadBusy):
		return &protocolError{codeUploadBusy, err.Error()}
	case errors.Is(err, repository.ErrTooManyUploads):
		return tooManyUploads(err)
	case r.Context().Err() != nil:
		return clientLeft(err)
	case errors.Is(err, budget.ErrFull):
		return g.answerTo(q, images.Classify(r.Context(), err), nil)
	case repository.IsReadOnly(err):
		return &Failure{Status: http.StatusServiceUnavailable, Err: err, code: nameUnavailable, message: "the registry may not write to its store"}
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &Failure{Status: http.StatusInsufficientStorage, Err: err, code: nameUnavailable, message: "the registry's disk is full"}
	}
	return &Failure{Status: http.StatusInternalServerError, Err: err, code: nameUnknown, message: "the registry could not store this"}
}

// answerToBody returns the answer to an error of reading a request's body, and err is what
// the log gets.
func answerToBody(err, cause error) error {
	if invalid, ok := errors.AsType[*sizeError](cause); ok {
		return &protocolError{codeSizeInvalid, invalid.Error()}
	}
	if large, ok := errors.AsType[*http.MaxBytesError](cause); ok { // a limit of the server
		return &protocolError{codeBlobTooLarge, fmt.Sprintf("the server takes at most %d bytes in a request", large.Limit)}
	}
	if isStalled(cause) {
		return &protocolError{codeUploadStalled, fmt.Sprintf("less than %d KiB came in %s", stride>>10, patience)}
	}
	return clientLeft(err)
}

// clientLeft is the answer that nobody reads.
func clientLeft(err error) error {
	return &Failure{Status: StatusClientClosedRequest, Err: err, code: nameUnknown, message: "the client left"}
}

// tooManyUploads is the answer to a client that is to come back later.
func tooManyUploads(err error) error {
	return &Failure{Status: http.StatusTooManyRequests, RetryAfter: budget.Wait, Err: err, code: nameTooMany, message: "too many uploads are under way"}
}

// Results of receiving a request's body.
const (
	ResultOK      = "ok"
	ResultRefused = "refused" // because of what the client sent
	ResultCutOff  = "cut_off" // the client left, or stalled
	ResultFailed  = "failed"
)

// Results are all of them.
var Results = []string{ResultOK, ResultRefused, ResultCutOff, ResultFailed}

// resultOf returns the result of an answer to an error.
func resultOf(answer error) string {
	refused, ok := errors.AsType[*protocolError](answer)
	failed, isFailure := errors.AsType[*Failure](answer)
	switch {
	case answer == nil:
		return ResultOK
	case ok && refused.code == codeUploadStalled, isFailure && failed.Status == StatusClientClosedRequest:
		return ResultCutOff
	case ok:
		return ResultRefused
	}
	return ResultFailed
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
