package denylist

import (
	"encoding/binary"
	"math/bits"
	"strings"
)

const base58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

var base58Digits = func() (digits [256]int8) {
	for i := range digits {
		digits[i] = int8(strings.IndexByte(base58, byte(i)))
	}
	return digits
}()

// parseQm reads a sha2-256 multihash in base58, "Qm…". Most rules of long lists have
// one, and a decoder for base58 of any length takes longer than everything else about a
// line.
func parseQm(s string) (key, bool) {
	if len(s) != 46 {
		return key{}, false
	}
	var number [5]uint64 // the lowest word first
	for len(s) > 0 {
		chunk := s[:min(len(s), 10)] // as many digits as a word can hold
		s = s[len(chunk):]
		carry, scale := uint64(0), uint64(1)
		for _, char := range []byte(chunk) {
			digit := base58Digits[char]
			if digit < 0 {
				return key{}, false
			}
			carry, scale = carry*58+uint64(digit), scale*58
		}
		for i, word := range number {
			high, low := bits.Mul64(word, scale)
			low, over := bits.Add64(low, carry, 0)
			number[i], carry = low, high+over
		}
	}
	if number[4] != 0x1220 { // the multihash's code and length
		return key{}, false
	}
	var k key
	for i, word := range number[:4] {
		binary.BigEndian.PutUint64(k[8*(3-i):], word)
	}
	return k, true
}
