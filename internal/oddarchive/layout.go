package oddarchive

import "slices"

// A layout is the blobs of an OCI image layout.
type layout struct{ blobs []entry }

// put adds a blob, and returns its descriptor.
func (l *layout) put(mediaType string, data []byte) object {
	name := "blobs/sha256/" + hexOf(data)
	if !slices.ContainsFunc(l.blobs, func(e entry) bool { return e.name == name }) {
		l.blobs = append(l.blobs, regular(name, data))
	}
	return object{"mediaType": mediaType, "digest": digestOf(data), "size": len(data)}
}

// types are the media types of an image.
type types struct{ manifest, config, layer string }

var ociTypes = types{ociManifest, ociConfig, ociGzip}

// putImage adds an image with its layers as they are stored, and returns the
// descriptor of its manifest.
func (l *layout) putImage(i image, t types, stored ...[]byte) object {
	m := object{"schemaVersion": 2, "mediaType": t.manifest, "config": l.put(t.config, i.config)}
	layers := []object{}
	for _, s := range stored {
		layers = append(layers, l.put(t.layer, s))
	}
	m["layers"] = layers
	return l.put(t.manifest, encode(m))
}

// putGzipped adds an image with gzipped layers.
func (l *layout) putGzipped(i image) object {
	var stored [][]byte
	for _, t := range i.layers {
		stored = append(stored, gzipped(t))
	}
	return l.putImage(i, ociTypes, stored...)
}

// putIndex adds an index.
func (l *layout) putIndex(manifests ...object) object {
	return l.put(ociIndex, encode(object{"schemaVersion": 2, "mediaType": ociIndex, "manifests": manifests}))
}

// entries returns the files of the layout, whose index.json names the descriptors.
func (l *layout) entries(descriptors ...object) []entry {
	if descriptors == nil {
		descriptors = []object{}
	}
	return append([]entry{
		regular("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)),
		regular("index.json", encode(object{"schemaVersion": 2, "mediaType": ociIndex, "manifests": descriptors})),
	}, l.blobs...)
}

// with returns a descriptor with more keys.
func with(d object, more object) object {
	all := object{}
	for _, o := range []object{d, more} {
		for k, v := range o {
			all[k] = v
		}
	}
	return all
}

// named returns a descriptor with a name.
func named(d object, name string) object {
	return with(d, object{"annotations": object{refName: name}})
}

// layoutOf returns the layout of one image with gzipped layers, named v1.
func layoutOf(i image) []entry {
	var l layout
	return l.entries(named(l.putGzipped(i), "v1"))
}

// layoutAs returns the layout of one image named v1 with its layers as they are
// stored, of the given type.
func layoutAs(i image, layerType string, stored ...[]byte) []entry {
	var l layout
	return l.entries(named(l.putImage(i, types{ociManifest, ociConfig, layerType}, stored...), "v1"))
}
