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

// parseQm reads "Qm…", a sha2-256 multihash as all of them are spelled in
// base58. Most of what long lists have is of that kind, and decoders for base58
// of any length take longer than all else that is done with a line.
func parseQm(s string) (key, bool) {
	if len(s) != 46 {
		return key{}, false
	}
	var number [5]uint64 // the lowest word first
	for len(s) > 0 {
		chunk := s[:min(len(s), 10)] // of digits, as many as a word can hold
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
