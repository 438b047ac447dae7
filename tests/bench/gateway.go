package main

import (
	"errors"
	"path/filepath"
)

// gateways measures what it costs to trust no gateway, here a Kubo, for a layer
// in each of the shapes that it has on IPFS.
func (b *bench) gateways() error {
	repo := filepath.Join(b.work, "gateway")
	n, err := b.newNode(repo)
	if err != nil {
		return err
	}
	defer func() { n.stop() }()
	all, err := b.publish(n)
	if err != nil {
		return err
	}
	for _, measure := range []func(*bench, *node, published) error{
		(*bench).blob, (*bench).manifest, (*bench).firstByte, (*bench).slowClients,
	} {
		if err := forAll(all, func(p published) error { return measure(b, n, p) }); err != nil {
			return err
		}
	}
	n.stop()
	if err := n.ipfs("config", "--json", "Gateway.DeserializedResponses", "false"); err != nil {
		return err
	}
	if err := b.startNode(n); err != nil {
		return err
	}
	return forAll(all, func(p published) error { return b.trustless(n, p) })
}

func forAll(all []published, measure func(published) error) error {
	var errs []error
	for _, p := range all {
		errs = append(errs, measure(p))
	}
	return errors.Join(errs...)
}
