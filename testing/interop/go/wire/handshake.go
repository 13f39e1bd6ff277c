// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// Version is the second byte of a handshake; VersionPlain means none is made.
type Version byte

const (
	VersionPlain     Version = 0
	VersionAES256GCM Version = 1
	VersionAEGIS128L Version = 2
)

func (v Version) String() string {
	switch v {
	case VersionPlain:
		return "plain"
	case VersionAES256GCM:
		return "aes256gcm"
	case VersionAEGIS128L:
		return "aegis128l"
	}
	return fmt.Sprintf("version%d", byte(v))
}

const (
	handshakeMagic = 0xAE
	saltSize       = 32
	proofSize      = 32
	// aegisNonceMask makes the second half of a version-2 nonce of the counter.
	aegisNonceMask = 0x414C4F5344424147
)

var (
	// ErrServerProof means the server does not know the password (or the client
	// does not).
	ErrServerProof = errors.New("wire: the server's proof is wrong: user name or password differ")
	// ErrReplay means a frame's counter did not grow.
	ErrReplay = errors.New("wire: frame counter did not grow")
)

// PreSharedKey is what both sides know before they meet.
func PreSharedKey(username, password string) []byte {
	sum := sha256.Sum256([]byte(username + ":" + password))
	return sum[:]
}

// AuthToken is the `auth` field of a request.
func AuthToken(username, password string) string {
	return hex.EncodeToString(PreSharedKey(username, password))
}

// Keys of one connection.
type Keys struct {
	ClientToServer, ServerToClient []byte
	ServerProof, ClientProof       []byte
}

// DeriveKeys computes all that a handshake needs of the two salts.
func DeriveKeys(version Version, psk, clientSalt, serverSalt []byte) (*Keys, error) {
	keySize := 32
	if version == VersionAEGIS128L {
		keySize = aegisKeySize
	}
	salt := append(append([]byte{}, clientSalt...), serverSalt...)
	derive := func(info string, size int) ([]byte, error) {
		return hkdf.Key(sha256.New, psk, salt, info, size)
	}
	keys := &Keys{}
	proofKey, err := derive("alosdb-proof-v1", proofSize)
	if err != nil {
		return nil, err
	}
	if keys.ClientToServer, err = derive("alosdb-c2s-v1", keySize); err != nil {
		return nil, err
	}
	if keys.ServerToClient, err = derive("alosdb-s2c-v1", keySize); err != nil {
		return nil, err
	}
	prove := func(label string) []byte {
		mac := hmac.New(sha256.New, proofKey)
		mac.Write([]byte(label))
		mac.Write(salt)
		return mac.Sum(nil)
	}
	keys.ServerProof, keys.ClientProof = prove("server"), prove("client")
	return keys, nil
}

// Sealer seals or opens the frames of one direction.
type Sealer struct {
	version Version
	aead    cipher.AEAD
	counter uint64 // of the last frame sealed or accepted
}

// NewSealer makes the sealer of one direction, its counter at 0.
func NewSealer(version Version, key []byte) (*Sealer, error) {
	switch version {
	case VersionAES256GCM:
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		return &Sealer{version: version, aead: aead}, err
	case VersionAEGIS128L:
		aead, err := NewAEGIS128L(key)
		return &Sealer{version: version, aead: aead}, err
	}
	return nil, fmt.Errorf("wire: no cipher for handshake %v", version)
}

// header gives the bytes in front of the ciphertext and the nonce.
func (s *Sealer) header(counter uint64) (header, nonce []byte) {
	if s.version == VersionAES256GCM {
		nonce = make([]byte, 12)
		binary.BigEndian.PutUint64(nonce[4:], counter)
		return nonce[4:], nonce
	}
	nonce = make([]byte, 16)
	binary.BigEndian.PutUint64(nonce, counter)
	binary.BigEndian.PutUint64(nonce[8:], counter^aegisNonceMask)
	return nonce, nonce
}

// Counter of the last frame sealed or accepted.
func (s *Sealer) Counter() uint64 { return s.counter }

// SetCounter makes the next Seal use counter+1: for hostile tests.
func (s *Sealer) SetCounter(counter uint64) { s.counter = counter }

// Seal makes the next sealed frame, without its length.
func (s *Sealer) Seal(plaintext []byte) []byte {
	s.counter++
	header, nonce := s.header(s.counter)
	out := make([]byte, 0, len(header)+len(plaintext)+s.aead.Overhead())
	return s.aead.Seal(append(out, header...), nonce, plaintext, nil)
}

// Open checks and opens a sealed frame.
func (s *Sealer) Open(frame []byte) ([]byte, error) {
	if len(frame) < 8 {
		return nil, errors.New("wire: sealed frame shorter than its counter")
	}
	counter := binary.BigEndian.Uint64(frame)
	header, nonce := s.header(counter)
	if len(frame) < len(header)+s.aead.Overhead() {
		return nil, errors.New("wire: sealed frame shorter than its header and tag")
	}
	if string(frame[:len(header)]) != string(header) {
		return nil, errors.New("wire: the nonce does not follow from the counter")
	}
	if counter <= s.counter {
		return nil, ErrReplay
	}
	plaintext, err := s.aead.Open(nil, nonce, frame[len(header):], nil)
	if err != nil {
		return nil, err
	}
	s.counter = counter
	return plaintext, nil
}

// handshake runs the client's side on `stream`.
func handshake(stream io.ReadWriter, version Version, psk []byte) (seal, open *Sealer, err error) {
	hello := make([]byte, 2+saltSize)
	hello[0], hello[1] = handshakeMagic, byte(version)
	if _, err := rand.Read(hello[2:]); err != nil {
		return nil, nil, err
	}
	if _, err := stream.Write(hello); err != nil {
		return nil, nil, err
	}
	answer := make([]byte, saltSize+proofSize)
	if _, err := io.ReadFull(stream, answer); err != nil {
		return nil, nil, fmt.Errorf("wire: reading the server's half of the handshake: %w", err)
	}
	keys, err := DeriveKeys(version, psk, hello[2:], answer[:saltSize])
	if err != nil {
		return nil, nil, err
	}
	if !hmac.Equal(answer[saltSize:], keys.ServerProof) {
		return nil, nil, ErrServerProof
	}
	if _, err := stream.Write(keys.ClientProof); err != nil {
		return nil, nil, err
	}
	if seal, err = NewSealer(version, keys.ClientToServer); err != nil {
		return nil, nil, err
	}
	open, err = NewSealer(version, keys.ServerToClient)
	return seal, open, err
}
