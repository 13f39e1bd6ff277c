// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
)

// AEGIS-128L (draft-irtf-cfrg-aegis-aead) in plain Go: eight AES blocks of
// state, 32 bytes of message per step. Only what the protocol needs: 16-byte
// keys, nonces and tags. Table lookups on secret data make it unfit for
// anything but a test.

const (
	aegisKeySize   = 16
	aegisNonceSize = 16
	aegisTagSize   = 16
	aegisRate      = 32
)

// aegisBlock is one AES block as four big-endian columns.
type aegisBlock [4]uint32

var (
	aegisC0 = loadBlock([]byte{0x00, 0x01, 0x01, 0x02, 0x03, 0x05, 0x08, 0x0d,
		0x15, 0x22, 0x37, 0x59, 0x90, 0xe9, 0x79, 0x62})
	aegisC1 = loadBlock([]byte{0xdb, 0x3d, 0x18, 0x55, 0x6d, 0xc2, 0x2f, 0xf1,
		0x20, 0x11, 0x31, 0x42, 0x73, 0xb5, 0x28, 0xdd})

	// aesTables[i][x] is the column that byte x, standing in row i, contributes
	// to SubBytes, ShiftRows and MixColumns taken together.
	aesTables = makeAESTables()
)

// makeAESTables derives the AES S-box from its definition (inverse in GF(2^8),
// then the affine map) and folds MixColumns into it.
func makeAESTables() (tables [4][256]uint32) {
	double := func(x byte) byte {
		if x&0x80 != 0 {
			return x<<1 ^ 0x1b
		}
		return x << 1
	}
	var sbox [256]byte
	// p runs through all non-zero elements as powers of 3, q through their inverses.
	for p, q := byte(1), byte(1); ; {
		p ^= double(p)
		q ^= q << 1
		q ^= q << 2
		q ^= q << 4
		if q&0x80 != 0 {
			q ^= 0x09
		}
		rotate := func(n uint) byte { return q<<n | q>>(8-n) }
		sbox[p] = q ^ rotate(1) ^ rotate(2) ^ rotate(3) ^ rotate(4) ^ 0x63
		if p == 1 {
			break
		}
	}
	sbox[0] = 0x63
	for x := range 256 {
		s := sbox[x]
		column := uint32(double(s))<<24 | uint32(s)<<16 | uint32(s)<<8 | uint32(double(s)^s)
		for row := range 4 {
			tables[row][x] = column>>(8*row) | column<<(32-8*row)
		}
	}
	return tables
}

func loadBlock(b []byte) (out aegisBlock) {
	for i := range out {
		out[i] = binary.BigEndian.Uint32(b[4*i:])
	}
	return out
}

func (a aegisBlock) store(b []byte) {
	for i, column := range a {
		binary.BigEndian.PutUint32(b[4*i:], column)
	}
}

func (a aegisBlock) xor(b aegisBlock) aegisBlock {
	return aegisBlock{a[0] ^ b[0], a[1] ^ b[1], a[2] ^ b[2], a[3] ^ b[3]}
}

func (a aegisBlock) and(b aegisBlock) aegisBlock {
	return aegisBlock{a[0] & b[0], a[1] & b[1], a[2] & b[2], a[3] & b[3]}
}

// aesRound is one AES encryption round of `in` with round key `key`.
func aesRound(in, key aegisBlock) (out aegisBlock) {
	for i := range out {
		out[i] = aesTables[0][in[i]>>24] ^
			aesTables[1][in[(i+1)&3]>>16&0xff] ^
			aesTables[2][in[(i+2)&3]>>8&0xff] ^
			aesTables[3][in[(i+3)&3]&0xff] ^ key[i]
	}
	return out
}

type aegisState [8]aegisBlock

func (s *aegisState) update(m0, m1 aegisBlock) {
	last := s[7]
	for i := 7; i > 0; i-- {
		key := s[i]
		if i == 4 {
			key = key.xor(m1)
		}
		s[i] = aesRound(s[i-1], key)
	}
	s[0] = aesRound(last, s[0].xor(m0))
}

func newAEGISState(key, nonce aegisBlock) *aegisState {
	mixed := key.xor(nonce)
	s := &aegisState{mixed, aegisC1, aegisC0, aegisC1,
		mixed, key.xor(aegisC0), key.xor(aegisC1), key.xor(aegisC0)}
	for range 10 {
		s.update(nonce, key)
	}
	return s
}

// keystream gives the 32 bytes the next step is XORed with.
func (s *aegisState) keystream() (z0, z1 aegisBlock) {
	return s[6].xor(s[1]).xor(s[2].and(s[3])), s[2].xor(s[5]).xor(s[6].and(s[7]))
}

func (s *aegisState) finish(additionalBytes, messageBytes int) (tag [aegisTagSize]byte) {
	var lengths [16]byte
	binary.LittleEndian.PutUint64(lengths[0:], uint64(additionalBytes)*8)
	binary.LittleEndian.PutUint64(lengths[8:], uint64(messageBytes)*8)
	mix := s[2].xor(loadBlock(lengths[:]))
	for range 7 {
		s.update(mix, mix)
	}
	sum := s[0]
	for i := 1; i < 7; i++ {
		sum = sum.xor(s[i])
	}
	sum.store(tag[:])
	return tag
}

func (s *aegisState) absorb(data []byte) {
	for len(data) > 0 {
		var padded [aegisRate]byte
		n := copy(padded[:], data)
		s.update(loadBlock(padded[:16]), loadBlock(padded[16:]))
		data = data[n:]
	}
}

type aegis128L struct{ key aegisBlock }

// NewAEGIS128L makes an AEAD of a 16-byte key.
func NewAEGIS128L(key []byte) (cipher.AEAD, error) {
	if len(key) != aegisKeySize {
		return nil, errors.New("aegis128l: the key must have 16 bytes")
	}
	return &aegis128L{key: loadBlock(key)}, nil
}

func (a *aegis128L) NonceSize() int { return aegisNonceSize }
func (a *aegis128L) Overhead() int  { return aegisTagSize }

func (a *aegis128L) Seal(dst, nonce, plaintext, additional []byte) []byte {
	s := newAEGISState(a.key, loadBlock(nonce))
	s.absorb(additional)
	messageBytes := len(plaintext)
	for len(plaintext) > 0 {
		var in, out [aegisRate]byte
		n := copy(in[:], plaintext)
		z0, z1 := s.keystream()
		m0, m1 := loadBlock(in[:16]), loadBlock(in[16:])
		z0.xor(m0).store(out[:16])
		z1.xor(m1).store(out[16:])
		s.update(m0, m1)
		dst = append(dst, out[:n]...)
		plaintext = plaintext[n:]
	}
	tag := s.finish(len(additional), messageBytes)
	return append(dst, tag[:]...)
}

func (a *aegis128L) Open(dst, nonce, sealed, additional []byte) ([]byte, error) {
	if len(sealed) < aegisTagSize {
		return nil, errors.New("aegis128l: shorter than a tag")
	}
	s := newAEGISState(a.key, loadBlock(nonce))
	s.absorb(additional)
	ciphertext, tag := sealed[:len(sealed)-aegisTagSize], sealed[len(sealed)-aegisTagSize:]
	messageBytes := len(ciphertext)
	start := len(dst)
	for len(ciphertext) > 0 {
		var in, out [aegisRate]byte
		n := copy(in[:], ciphertext)
		z0, z1 := s.keystream()
		z0.xor(loadBlock(in[:16])).store(out[:16])
		z1.xor(loadBlock(in[16:])).store(out[16:])
		clear(out[n:]) // a short last step is absorbed padded with zeros
		s.update(loadBlock(out[:16]), loadBlock(out[16:]))
		dst = append(dst, out[:n]...)
		ciphertext = ciphertext[n:]
	}
	want := s.finish(len(additional), messageBytes)
	if subtle.ConstantTimeCompare(want[:], tag) != 1 {
		clear(dst[start:])
		return nil, errors.New("aegis128l: authentication failed")
	}
	return dst, nil
}
