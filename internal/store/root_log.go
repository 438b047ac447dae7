package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
)

// A State is a state of the root, and the change that led to it.
type State struct {
	Root     cid.Cid
	Time     time.Time // of the change
	Replaced time.Time // of the next change; zero for the current state
	Kept     bool      // whether everything below it is here; true for the current state
	Actions  []Action
}

// An Action is a part of a change: what was done to one image, and by whom.
type Action struct {
	What      string        // "push", "delete", "convert", "copy" or "rollback"
	Name      string        // of the repository; empty for a rollback
	Reference string        // the tag, or the digest where there is none
	Digest    digest.Digest // of the manifest, or of the blob that was deleted
	User      string        // empty if not known

	// Address is the root of a directory that holds this repository alone, at its name,
	// as the change left it. Draft.Note ignores it. It is undefined if the repository is
	// gone.
	Address cid.Cid
}

// The lines of the log are JSON objects. CIDs are written as in image names.
type (
	stateLine struct {
		Time    time.Time    `json:"time"`
		Root    string       `json:"root"`
		Actions []actionLine `json:"actions"`
	}
	actionLine struct {
		What      string        `json:"what"`
		Name      string        `json:"name,omitempty"`
		Reference string        `json:"reference,omitempty"`
		Digest    digest.Digest `json:"digest,omitempty"`
		Address   string        `json:"address,omitempty"`
		User      string        `json:"user,omitempty"`
	}
)

// maxLine is how many bytes a line of the log may have: enough for a change of tens of
// thousands of images.
const maxLine = 16 << 20

func (s State) encode() ([]byte, error) {
	line := stateLine{Time: s.Time, Root: rootName(s.Root), Actions: make([]actionLine, len(s.Actions))}
	for i, a := range s.Actions {
		line.Actions[i] = actionLine{a.What, a.Name, a.Reference, a.Digest, "", a.User}
		if a.Address.Defined() {
			line.Actions[i].Address = rootName(a.Address)
		}
	}
	b, err := json.Marshal(line)
	if err != nil {
		return nil, err
	}
	if len(b) >= maxLine {
		return nil, fmt.Errorf("%d images, more than one change of the root can have: put them onto it a few at a time", len(s.Actions))
	}
	return append(b, '\n'), nil
}

func parseState(b []byte) (State, error) {
	var line stateLine
	if err := json.Unmarshal(b, &line); err != nil {
		return State{}, err
	}
	root, err := parseRoot(line.Root)
	if err != nil {
		return State{}, err
	}
	s := State{Root: root, Time: line.Time, Actions: make([]Action, len(line.Actions))}
	for i, a := range line.Actions {
		s.Actions[i] = Action{What: a.What, Name: a.Name, Reference: a.Reference, Digest: a.Digest, User: a.User}
		if a.Address == "" {
			continue
		}
		if s.Actions[i].Address, err = parseRoot(a.Address); err != nil {
			return State{}, err
		}
	}
	return s, nil
}

// EachState calls visit with the states of the root, the newest first, until it returns
// false. It leaves out a change that is under way.
func (r *Root) EachState(ctx context.Context, visit func(State) (more bool)) error {
	current, err := r.current()
	if err != nil || !current.Defined() {
		return err
	}
	collected, err := r.collected()
	if err != nil {
		return err
	}
	f, err := r.openLog(os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) { // it was removed
		visit(State{Root: current, Kept: true})
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	begins, err := f.lineOf(current)
	if err != nil {
		return fmt.Errorf("reading %s: %w", r.path("log"), err)
	}
	newer := time.Time{} // of the state that was visited last
	if begins < 0 {      // the log was removed or replaced
		if newer = r.now(); !visit(State{Root: current, Kept: true}) {
			return nil
		}
	}
	return f.eachLineBack(func(l logLine) (bool, error) {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if len(l.text) == 0 || begins >= 0 && l.start > begins {
			return true, nil
		}
		s, err := parseState(l.text)
		if err != nil {
			return false, fmt.Errorf("%s is %w: the line at byte %d: %w", r.path("log"), ErrDamaged, l.start, err)
		}
		s.Replaced = newer
		s.Kept = newer.IsZero() || newer.After(collected)
		newer = s.Time
		return visit(s), nil
	})
}

// HasState reports whether c is or was the root.
func (r *Root) HasState(ctx context.Context, c cid.Cid) bool {
	found := false
	_ = r.EachState(ctx, func(s State) bool {
		found = bytes.Equal(s.Root.Hash(), c.Hash())
		return !found
	})
	return found
}

// States returns the states of the root, the newest first, up to a number of them.
func (r *Root) States(ctx context.Context, limit int) ([]State, error) {
	var states []State
	err := r.EachState(ctx, func(s State) bool {
		states = append(states, s)
		return len(states) < limit
	})
	return states, err
}
