package deflate

import "math/bits"

func tz(x uint64) int { return bits.TrailingZeros64(x) }

const longBits = 15

type matcher2 struct {
	short [1 << 15]uint32
	long  [1 << longBits][2]uint32
}

func shortHash(x uint64) uint32 { return uint32(x) * 0x9e3779b1 >> (32 - 15) & (1<<15 - 1) }
func longHash(x uint64) uint32  { return uint32((x << 8) * 0xcf1bbcdcb7a56463 >> (64 - longBits)) & (1<<longBits - 1) }

func (m *matcher2) insert2(x uint64, i uint32) {
	m.short[shortHash(x)] = i
	l := &m.long[longHash(x)]
	l[1], l[0] = l[0], i
}

func (m *matcher2) find(src []byte, x uint64, i uint32, best uint32) (length, distance uint32) {
	var lowest uint32
	if i >= window {
		lowest = i - window + 1
	}
	hs := shortHash(x)
	s := m.short[hs]
	m.short[hs] = i
	l := &m.long[longHash(x)]
	c, d := l[0], l[1]
	l[1], l[0] = c, i
	length = best
	if c > lowest {
		if n := common(src, x, c, i); n > length {
			length, distance = n, i-c
		}
		if d > lowest {
			if n := common(src, x, d, i); n > length {
				length, distance = n, i-d
			}
		}
	}
	if s > lowest && s != c && (length < 8) {
		if n := common(src, x, s, i); n > length {
			length, distance = n, i-s
		}
	}
	return length, distance
}

func common(src []byte, x uint64, c, i uint32) uint32 {
	y := load64(src, c) ^ x
	if uint32(y) != 0 {
		return 0
	}
	if y != 0 {
		return uint32(tz(y)) >> 3
	}
	return extend(src, c, i)
}

func (e *Encoder) parse2(src []byte, start int) int {
	e.tokens = e.tokens[:0]
	clear(e.litFreq[:])
	clear(e.distFreq[:])
	e.stats = stats{}
	end := min(len(src), start+maxBlock)
	var searchEnd uint32
	if n := min(end, len(src)-8); n > 0 {
		searchEnd = uint32(n)
	}
	i, litStart := uint32(start), uint32(start)
	lazy := uint32(e.effort.Lazy)
	step := uint32(e.effort.Insert)
	for i < searchEnd {
		if e.stats.nNew >= 512 && i == litStart && int(i)-start >= minBlock && len(src)-int(i) >= minBlock && e.stats.ends(int(i)-start) {
			end = int(i)
			break
		}
		x := load64(src, i)
		length, distance := e.find(src, x, i, minMatch-1)
		if length < minMatch {
			i += 1 + (i-litStart)>>e.effort.Skip
			continue
		}
		inserted := i + 1
		for length < lazy && i+1 < searchEnd {
			x := load64(src, i+1)
			inserted = i + 2
			l2, d2 := e.find(src, x, i+1, length)
			if l2 <= length {
				break
			}
			i++
			length, distance = l2, d2
		}
		for i > litStart && i-distance > 0 && src[i-1] == src[i-distance-1] && length < maxMatch {
			i--
			length++
		}
		e.literals(src[litStart:i])
		e.match(int(i-litStart), length, distance)
		i += length
		litStart = i
		last := min(i, searchEnd)
		for k := inserted; k < last; k += step {
			e.insert2(load64(src, k), k)
		}
	}
	end = max(int(litStart), end)
	e.literals(src[litStart:end])
	e.tokens = append(e.tokens, token{literals: uint32(end) - litStart})
	return end
}
