// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"os"
	"testing"
)

type versionVectors struct {
	ClientToServer string `json:"c2s_key"`
	ServerToClient string `json:"s2c_key"`
	ClientHello    string `json:"client_hello"`
	Frame1         string `json:"frame_1"`
}

type vectors struct {
	Username     string         `json:"username"`
	Password     string         `json:"password"`
	AuthToken    string         `json:"auth_token"`
	PSK          string         `json:"psk"`
	ClientSalt   string         `json:"client_salt"`
	ServerSalt   string         `json:"server_salt"`
	ServerProof  string         `json:"server_proof"`
	ClientProof  string         `json:"client_proof"`
	RequestPlain string         `json:"request_plain"`
	V1           versionVectors `json:"v1"`
	V2           versionVectors `json:"v2"`
	AEGIS128L    struct {
		Key, Nonce, AD, Msg, CT, Tag string
	} `json:"aegis128l"`
}

func loadVectors(t *testing.T) *vectors {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	v := &vectors{}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatal(err)
	}
	return v
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAEGIS128LMatchesItsVector(t *testing.T) {
	v := loadVectors(t).AEGIS128L
	aead, err := NewAEGIS128L(unhex(t, v.Key))
	if err != nil {
		t.Fatal(err)
	}
	sealed := aead.Seal(nil, unhex(t, v.Nonce), unhex(t, v.Msg), unhex(t, v.AD))
	if got, want := hex.EncodeToString(sealed), v.CT+v.Tag; got != want {
		t.Fatalf("sealed %s, want %s", got, want)
	}
}

func TestAEGIS128LOpensWhatItSealedAndNothingElse(t *testing.T) {
	aead, err := NewAEGIS128L(bytes.Repeat([]byte{7}, 16))
	if err != nil {
		t.Fatal(err)
	}
	nonce := bytes.Repeat([]byte{9}, 16)
	for size := range 100 {
		message := make([]byte, size)
		for i := range message {
			message[i] = byte(i * 31)
		}
		additional := message[:size/3]
		sealed := aead.Seal(nil, nonce, message, additional)
		opened, err := aead.Open(nil, nonce, sealed, additional)
		if err != nil || !bytes.Equal(opened, message) {
			t.Fatalf("size %d: opened %x, %v", size, opened, err)
		}
		for i := range sealed {
			sealed[i] ^= 0x40
			if _, err := aead.Open(nil, nonce, sealed, additional); err == nil {
				t.Fatalf("size %d: byte %d changed and nobody noticed", size, i)
			}
			sealed[i] ^= 0x40
		}
	}
}

func TestHandshakeAndFirstFrameMatchTheVectors(t *testing.T) {
	v := loadVectors(t)
	psk := PreSharedKey(v.Username, v.Password)
	if hex.EncodeToString(psk) != v.PSK || AuthToken(v.Username, v.Password) != v.AuthToken {
		t.Fatalf("psk %x, token %s", psk, AuthToken(v.Username, v.Password))
	}
	for version, want := range map[Version]versionVectors{VersionAES256GCM: v.V1, VersionAEGIS128L: v.V2} {
		t.Run(version.String(), func(t *testing.T) {
			keys, err := DeriveKeys(version, psk, unhex(t, v.ClientSalt), unhex(t, v.ServerSalt))
			if err != nil {
				t.Fatal(err)
			}
			for name, pair := range map[string][2]string{
				"c2s":          {hex.EncodeToString(keys.ClientToServer), want.ClientToServer},
				"s2c":          {hex.EncodeToString(keys.ServerToClient), want.ServerToClient},
				"server proof": {hex.EncodeToString(keys.ServerProof), v.ServerProof},
				"client proof": {hex.EncodeToString(keys.ClientProof), v.ClientProof},
			} {
				if pair[0] != pair[1] {
					t.Errorf("%s is %s, want %s", name, pair[0], pair[1])
				}
			}
			seal, err := NewSealer(version, keys.ClientToServer)
			if err != nil {
				t.Fatal(err)
			}
			frame := Frame(seal.Seal(unhex(t, v.RequestPlain)))
			if got := hex.EncodeToString(frame); got != want.Frame1 {
				t.Errorf("first frame %s, want %s", got, want.Frame1)
			}
			open, err := NewSealer(version, keys.ClientToServer)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := open.Open(frame[4:])
			if err != nil || hex.EncodeToString(plain) != v.RequestPlain {
				t.Errorf("opened %x, %v", plain, err)
			}
			if _, err := open.Open(frame[4:]); !errors.Is(err, ErrReplay) {
				t.Errorf("the same frame twice: %v", err)
			}
		})
	}
}

func TestPlainRequestMatchesTheVector(t *testing.T) {
	v := loadVectors(t)
	payload, err := EncodeCompact(&Request{ID: 1, Op: 13, Args: struct{}{}})
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(payload); got != v.RequestPlain {
		t.Fatalf("request %s, want %s", got, v.RequestPlain)
	}
}

// A server written in the test checks what the client sends, with chosen salts.
func TestClientRefusesAServerThatDoesNotKnowThePassword(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	go func() {
		defer server.Close()
		hello := make([]byte, 2+saltSize)
		if n, err := server.Read(hello); err != nil || n != len(hello) {
			return
		}
		answer := make([]byte, saltSize+proofSize)
		binary.BigEndian.PutUint64(answer, 42)
		server.Write(answer)
	}()
	if _, _, err := handshake(client, VersionAES256GCM, PreSharedKey("a", "b")); !errors.Is(err, ErrServerProof) {
		t.Fatalf("got %v", err)
	}
}
