package deflate

// Sizes of blocks, in bytes. A block ends at maxBlock, or with the match that goes
// beyond it. A block ends earlier only where both it and the rest of the piece have
// at least minBlock. So only the last block can be shorter than minBlock: in a short
// piece, or as the rest after a block that ended at maxBlock.
const (
	minBlock = 5 << 10
	maxBlock = 300 << 10
)

// A splitter decides where a block ends: where the latest symbols differ in kind from
// those before them in the block. It counts ten kinds of symbols: literals by their
// two highest bits and the lowest, short matches, and long ones.
//
// This is libdeflate's block splitting, translated. Copyright 2016 Eric Biggers,
// copyright 2024 Google LLC, MIT licence: see the file NOTICE.
type splitter struct {
	before, recent tally
}

type tally struct {
	of  [10]uint32
	all uint32
}

const (
	shortMatch = 8
	longMatch  = 9
	longLength = 9 // bytes

	checkEvery = 512 // literals and matches
)

func (s *splitter) addLiterals(literals []byte) {
	for _, b := range literals {
		s.recent.of[b>>5&6|b&1]++
	}
	s.recent.all += uint32(len(literals))
}

func (s *splitter) addMatch(length uint32) {
	kind := shortMatch
	if length >= longLength {
		kind = longMatch
	}
	s.recent.of[kind]++
	s.recent.all++
}

// ends reports whether a block that has so many bytes so far should end.
func (s *splitter) ends(bytes int) bool {
	if s.recent.all < checkEvery || bytes < minBlock {
		return false
	}
	if s.before.all > 0 && s.differs(bytes) {
		return true
	}
	for kind, n := range s.recent.of {
		s.before.of[kind] += n
	}
	s.before.all += s.recent.all
	s.recent = tally{}
	return false
}

// differs compares the frequencies of the kinds, each multiplied by both totals to
// stay with integers. The sum of the differences must be at least 200/512. A short
// block must differ more, to be worth a header, and a long one less.
func (s *splitter) differs(bytes int) bool {
	before, recent := uint64(s.before.all), uint64(s.recent.all)
	var differ uint64
	for kind, n := range s.recent.of {
		expected, actual := uint64(s.before.of[kind])*recent, uint64(n)*before
		differ += max(expected, actual) - min(expected, actual)
	}
	limit := recent * before * 25 / 64
	if all := before + recent; bytes < 10_000 && all < 8192 {
		limit += limit * (8192 - all) / 8192
	}
	return differ+uint64(bytes/4096)*before >= limit
}
