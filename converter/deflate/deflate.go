package deflate

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

const (
	endOfBlock    = 256
	litSymbols    = 286
	distSymbols   = 30
	maxLitLength  = 14
	maxDistLength = 15

	maxBlock = 300 << 10
	minBlock = 5000
)

type Encoder struct {
	matcher
	matcher2
	effort         Effort
	tokens         []token
	litFreq        [litSymbols]uint32
	distFreq       [distSymbols]uint32
	lit, dist, pre code
	builder        builder
	stats          stats
	out            []byte
	p              int
	bitBuf         uint64
	nbits          uint
}

func New(e Effort) *Encoder {
	return &Encoder{effort: e, lit: newCode(litSymbols), dist: newCode(distSymbols), pre: newCode(19)}
}

type stats struct {
	old, new   [10]uint32
	nOld, nNew uint32
}

func (s *stats) literal(b byte) { s.new[b>>5&6|b&1]++; s.nNew++ }
func (s *stats) match(length uint32) {
	k := 8
	if length >= 9 {
		k = 9
	}
	s.new[k]++
	s.nNew++
}
func (s *stats) merge() {
	for i, n := range s.new {
		s.old[i] += n
	}
	s.nOld += s.nNew
	s.new = [10]uint32{}
	s.nNew = 0
}

// ends
func (s *stats) ends(length int) bool {
	if s.nOld > 0 {
		total := uint32(0)
		for i := range s.new {
			expected, actual := s.old[i]*s.nNew, s.new[i]*s.nOld
			if expected > actual {
				total += expected - actual
			} else {
				total += actual - expected
			}
		}
		items := s.nOld + s.nNew
		cutoff := s.nNew * 200 / 512 * s.nOld
		if length < 10000 && items < 8192 {
			cutoff += uint32(uint64(cutoff) * uint64(8192-items) / 8192)
		}
		if total+uint32(length/4096)*s.nOld >= cutoff {
			return true
		}
	}
	s.merge()
	return false
}

func (e *Encoder) AppendMember(dst, src []byte) []byte {
	need := len(src) + len(src)>>8 + 1024
	if cap(dst) < len(dst)+need {
		d := make([]byte, len(dst), len(dst)+need)
		copy(d, dst)
		dst = d
	}
	e.out = dst[:cap(dst)]
	e.p = len(dst)
	e.p += copy(e.out[e.p:], []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff})
	e.bitBuf, e.nbits = 0, 0
	e.deflate(src)
	binary.LittleEndian.PutUint32(e.out[e.p:], crc32.ChecksumIEEE(src))
	binary.LittleEndian.PutUint32(e.out[e.p+4:], uint32(len(src)))
	e.p += 8
	return e.out[:e.p]
}

func (e *Encoder) deflate(src []byte) {
	clear(e.heads[:])
	if e.effort.Depth == 0 { clear(e.short[:]); clear(e.long[:]) }
	start := 0
	for {
		var end int
		if e.effort.Depth == 0 { end = e.parse2(src, start) } else { end = e.parse(src, start) }
		e.block(src[start:end], end == len(src))
		start = end
		if end == len(src) {
			break
		}
	}
	if e.nbits > 0 {
		e.out[e.p] = byte(e.bitBuf)
		e.p++
		e.bitBuf, e.nbits = 0, 0
	}
}

func (e *Encoder) parse(src []byte, start int) int {
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
	depth, nice, lazy := e.effort.Depth, uint32(e.effort.Nice), uint32(e.effort.Lazy)
	for i < searchEnd {
		if e.stats.nNew >= 512 && i == litStart && int(i)-start >= minBlock && len(src)-int(i) >= minBlock && e.stats.ends(int(i)-start) {
			end = int(i)
			break
		}
		x := load64(src, i)
		length, distance := e.longest(src, x, i, e.insert(uint32(x), i), minMatch-1, depth, nice)
		if length < minMatch {
			i += 1 + (i-litStart)>>e.effort.Skip
			continue
		}
		inserted := i + 1
		for length < lazy && i+1 < searchEnd {
			x := load64(src, i+1)
			inserted = i + 2
			l2, d2 := e.longest(src, x, i+1, e.insert(uint32(x), i+1), length, depth/2, nice)
			if l2 <= length {
				break
			}
			i++
			length, distance = l2, d2
		}
		e.literals(src[litStart:i])
		e.match(int(i-litStart), length, distance)
		i += length
		litStart = i
		last := min(i, searchEnd)
		if length > uint32(e.effort.Insert) {
			for k := inserted; k < inserted+4; k++ {
				e.insert(load32(src, k), k)
			}
			inserted = max(inserted+4, last-4)
		}
		for k := inserted; k < last; k++ {
			e.insert(load32(src, k), k)
		}
	}
	end = max(int(litStart), end)
	e.literals(src[litStart:end])
	e.tokens = append(e.tokens, token{literals: uint32(end) - litStart})
	return end
}

func (e *Encoder) literals(run []byte) {
	for _, b := range run {
		e.litFreq[b]++
		e.stats.new[b>>5&6|b&1]++
	}
	e.stats.nNew += uint32(len(run))
}
func (e *Encoder) match(literals int, length, distance uint32) {
	e.stats.match(length)
	e.litFreq[257+int(lengthSlot[length])]++
	slot, _, _ := distanceSlot(int(distance))
	e.distFreq[slot&31%30]++
	e.tokens = append(e.tokens, token{uint32(literals), uint16(length), uint16(distance)})
}

func distanceSlot(d int) (slot, extra, value uint) {
	n := uint(d - 1)
	if n < 4 {
		return n, 0, 0
	}
	extra = uint(bits.Len(n)) - 2
	return 2*extra + n>>extra, extra, n & (1<<extra - 1)
}

var lengthSlot, lengthExtra, lengthValue = func() (slot, extra, value [maxMatch + 1]uint8) {
	base := 3
	for s := 0; s < 28; s++ {
		x := 0
		if s >= 8 {
			x = s/4 - 1
		}
		for v := range 1 << x {
			if base+v <= maxMatch {
				slot[base+v], extra[base+v], value[base+v] = uint8(s), uint8(x), uint8(v)
			}
		}
		base += 1 << x
	}
	slot[258], extra[258], value[258] = 28, 0, 0
	return
}()

func (e *Encoder) put(v uint64, n uint) {
	e.bitBuf |= v << e.nbits
	e.nbits += n
	binary.LittleEndian.PutUint64(e.out[e.p:], e.bitBuf)
	e.p += int(e.nbits >> 3)
	e.bitBuf >>= e.nbits &^ 7
	e.nbits &= 7
}

var preOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

type preItem struct {
	symbol, extra uint8
	n             uint8
}

func (e *Encoder) block(src []byte, final bool) {
	e.litFreq[endOfBlock]++
	e.builder.build(e.lit, e.litFreq[:], maxLitLength)
	e.builder.build(e.dist, e.distFreq[:], maxDistLength)
	nlit, ndist := litSymbols, distSymbols
	for e.lit.lengths[nlit-1] == 0 {
		nlit--
	}
	for e.dist.lengths[ndist-1] == 0 {
		ndist--
	}
	var lengths [litSymbols + distSymbols]uint8
	copy(lengths[:], e.lit.lengths[:nlit])
	copy(lengths[nlit:], e.dist.lengths[:ndist])
	items, preFreq := runs(lengths[:nlit+ndist])
	e.builder.build(e.pre, preFreq[:], 7)
	npre := 19
	for e.pre.lengths[preOrder[npre-1]] == 0 {
		npre--
	}
	cost := 3 + 14 + 3*npre
	for s, f := range preFreq {
		cost += int(f) * int(e.pre.lengths[s])
	}
	cost += int(preFreq[16])*2 + int(preFreq[17])*3 + int(preFreq[18])*7
	for s, f := range e.litFreq {
		cost += int(f) * int(e.lit.lengths[s])
	}
	for s, f := range e.litFreq[257+8 : litSymbols-1] {
		cost += int(f) * (s/4 + 1)
	}
	for s, f := range e.distFreq {
		cost += int(f) * int(e.dist.lengths[s])
		if s >= 4 {
			cost += int(f) * (s/2 - 1)
		}
	}
	var last uint64
	if final {
		last = 1
	}
	if cost >= len(src)*8+40*(len(src)/65535+1) {
		e.stored(src, last)
		return
	}
	e.put(last|2<<1, 3)
	e.put(uint64(nlit-257)|uint64(ndist-1)<<5|uint64(npre-4)<<10, 14)
	for _, s := range preOrder[:npre] {
		e.put(uint64(e.pre.lengths[s]), 3)
	}
	for _, it := range items {
		n := uint(e.pre.lengths[it.symbol])
		e.put(uint64(e.pre.words[it.symbol])|uint64(it.extra)<<n, n+uint(it.n))
	}
	e.body(src)
}

func runs(lengths []uint8) (items []preItem, freq [19]uint32) {
	items = make([]preItem, 0, len(lengths))
	add := func(s, extra, n uint8) { items = append(items, preItem{s, extra, n}); freq[s]++ }
	for i := 0; i < len(lengths); {
		v := lengths[i]
		n := 1
		for i+n < len(lengths) && lengths[i+n] == v {
			n++
		}
		i += n
		if v == 0 {
			for n >= 11 {
				k := min(n, 138)
				add(18, uint8(k-11), 7)
				n -= k
			}
			if n >= 3 {
				add(17, uint8(n-3), 3)
				n = 0
			}
		} else {
			add(v, 0, 0)
			n--
			for n >= 3 {
				k := min(n, 6)
				add(16, uint8(k-3), 2)
				n -= k
			}
		}
		for range n {
			add(v, 0, 0)
		}
	}
	return
}

func (e *Encoder) stored(src []byte, last uint64) {
	for {
		n := min(len(src), 65535)
		var l uint64
		if n == len(src) {
			l = last
		}
		e.put(l, 3)
		if e.nbits > 0 {
			e.out[e.p] = byte(e.bitBuf)
			e.p++
			e.bitBuf, e.nbits = 0, 0
		}
		binary.LittleEndian.PutUint16(e.out[e.p:], uint16(n))
		binary.LittleEndian.PutUint16(e.out[e.p+2:], ^uint16(n))
		e.p += 4
		e.p += copy(e.out[e.p:], src[:n])
		src = src[n:]
		if len(src) == 0 {
			return
		}
	}
}

func (e *Encoder) body(src []byte) {
	var lits [256]uint32 // word | length<<16
	for s := range lits {
		lits[s] = uint32(e.lit.words[s]) | uint32(e.lit.lengths[s])<<16
	}
	var lens [maxMatch + 1]uint32 // word and extra, 19 bits | n << 24
	for l := 3; l <= maxMatch; l++ {
		s := 257 + int(lengthSlot[l])
		n := e.lit.lengths[s]
		lens[l] = uint32(e.lit.words[s]) | uint32(lengthValue[l])<<n | uint32(n+lengthExtra[l])<<24
	}
	out, p := e.out, e.p
	bitBuf, nbits := e.bitBuf, e.nbits
	i := 0
	for _, t := range e.tokens {
		run := src[i : i+int(t.literals)]
		for len(run) >= 4 {
			a, b, c, d := lits[run[0]], lits[run[1]], lits[run[2]], lits[run[3]]
			bitBuf |= uint64(a&0xffff) << (nbits & 63)
			nbits += uint(a >> 16)
			bitBuf |= uint64(b&0xffff) << (nbits & 63)
			nbits += uint(b >> 16)
			bitBuf |= uint64(c&0xffff) << (nbits & 63)
			nbits += uint(c >> 16)
			bitBuf |= uint64(d&0xffff) << (nbits & 63)
			nbits += uint(d >> 16)
			binary.LittleEndian.PutUint64(out[p:], bitBuf)
			p += int(nbits >> 3)
			bitBuf >>= nbits &^ 7 & 63
			nbits &= 7
			run = run[4:]
		}
		for _, v := range run {
			a := lits[v]
			bitBuf |= uint64(a&0xffff) << (nbits & 63)
			nbits += uint(a >> 16)
		}
		binary.LittleEndian.PutUint64(out[p:], bitBuf)
		p += int(nbits >> 3)
		bitBuf >>= nbits &^ 7 & 63
		nbits &= 7
		i += int(t.literals)
		if t.length == 0 {
			continue
		}
		l := lens[t.length]
		bitBuf |= uint64(l&0xffffff) << (nbits & 63)
		nbits += uint(l >> 24)
		slot, extra, value := distanceSlot(int(t.distance))
		n := uint(e.dist.lengths[slot])
		bitBuf |= (uint64(e.dist.words[slot]) | uint64(value)<<n) << (nbits & 63)
		nbits += n + extra
		binary.LittleEndian.PutUint64(out[p:], bitBuf)
		p += int(nbits >> 3)
		bitBuf >>= nbits &^ 7 & 63
		nbits &= 7
		i += int(t.length)
	}
	e.p, e.bitBuf, e.nbits = p, bitBuf, nbits
	e.put(uint64(e.lit.words[endOfBlock]), uint(e.lit.lengths[endOfBlock]))
}
