package caddymodule

import (
	"fmt"
	"net/http"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// maxStates is how many states of a root are listed.
const maxStates = 100

// A rootState is a state of the own root of a store.
type rootState struct {
	Store   string       `json:"store"`
	Root    string       `json:"root"`
	Time    time.Time    `json:"time"`
	Changes []rootChange `json:"changes"`
	IPNS    *rootRecord  `json:"ipns,omitempty"` // of the current state
}

// A rootRecord describes the newest IPNS record of a root.
type rootRecord struct {
	Name     string    `json:"name"`
	Sequence uint64    `json:"sequence"`
	Expires  time.Time `json:"expires"`
}

// A rootChange is a part of the change that led to a state.
type rootChange struct {
	What       string        `json:"what"`
	Repository string        `json:"repository,omitempty"`
	Reference  string        `json:"reference,omitempty"`
	Digest     digest.Digest `json:"digest,omitempty"`
	Address    string        `json:"address,omitempty"` // of a directory that holds this repository alone
	User       string        `json:"user,omitempty"`
}

// listStates lists the last states of the own roots of all stores, newest first.
func listStates(r *http.Request) (any, error) {
	all := []rootState{}
	for _, s := range runningStores() {
		states, err := s.Root().States(r.Context(), maxStates)
		if err != nil {
			return nil, fmt.Errorf("reading the log of the root in %s: %w", s.Dir(), err)
		}
		for i, state := range states {
			listed := rootState{Store: s.Dir(), Root: state.Root.String(), Time: state.Time.UTC(), Changes: changesOf(state)}
			if last, err := s.Root().LastRecord(); err == nil && i == 0 && last.Root.Equals(state.Root) {
				listed.IPNS = &rootRecord{last.Name, last.Sequence, last.Expires.UTC()}
			}
			all = append(all, listed)
		}
	}
	return all, nil
}

func changesOf(state store.State) []rootChange {
	changes := make([]rootChange, len(state.Actions))
	for i, a := range state.Actions {
		changes[i] = rootChange{What: a.What, Repository: a.Name, Reference: a.Reference, Digest: a.Digest, User: a.User}
		if a.Address.Defined() {
			changes[i].Address = a.Address.String()
		}
	}
	return changes
}
