package main

import "path/filepath"

// gateways measures what it costs to trust no gateway, here a Kubo, for a layer
// in each of the shapes that it has on IPFS.
func (b *bench) gateways() error {
	n, err := b.newNode(filepath.Join(b.work, "gateway"))
	if err != nil {
		return err
	}
	defer func() { n.stop() }() // of whichever runs then
	images, err := b.publish(n)
	if err != nil {
		return err
	}
	for _, measure := range []func(*bench, published) error{
		(*bench).blob, (*bench).manifest, (*bench).firstByte, (*bench).slowClients,
	} {
		for _, p := range images {
			if err := measure(b, p); err != nil {
				return err
			}
		}
	}
	if err := b.crowd(images[0]); err != nil {
		return err
	}
	n.stop()
	if err := n.ipfs("config", "--json", "Gateway.DeserializedResponses", "false"); err != nil {
		return err
	}
	if err := b.startNode(n); err != nil {
		return err
	}
	for _, p := range images {
		if err := b.trustless(p); err != nil {
			return err
		}
	}
	return nil
}
