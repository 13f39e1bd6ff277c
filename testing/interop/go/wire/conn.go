// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0

// Package wire speaks the alos protocol from its description, so that the
// server is tested by something that shares no code with it.
package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// Op is an operation of the protocol.
type Op uint8

const (
	OpInsertOne        Op = 1
	OpInsertMany       Op = 2
	OpFindOne          Op = 3
	OpFind             Op = 4
	OpUpdateOne        Op = 5
	OpUpdateMany       Op = 6
	OpDeleteOne        Op = 7
	OpDeleteMany       Op = 8
	OpCount            Op = 9
	OpFindByID         Op = 10
	OpDrop             Op = 12
	OpStats            Op = 13
	OpFlush            Op = 14
	OpBatch            Op = 15
	OpTxBatch          Op = 16
	OpUpsertOne        Op = 17
	OpUpsertMany       Op = 18
	OpDBExists         Op = 19
	OpCollectionExists Op = 20
	OpCreateCollection Op = 23
	OpAggregate        Op = 24
	OpBeginTx          Op = 25
	OpTxFindOne        Op = 26
	OpTxFindByID       Op = 27
	OpTxInsertOne      Op = 28
	OpTxUpdateOne      Op = 29
	OpTxDeleteOne      Op = 30
	OpTxCommit         Op = 31
	OpTxRollback       Op = 32
	OpFindManyCount    Op = 33
	OpCreateIndex      Op = 34
	OpDropIndex        Op = 35
	OpListIndexes      Op = 36
	OpRebuildIndex     Op = 37
	OpReadTS           Op = 38
	OpFindManyStream   Op = 39
	OpFindPaginated    Op = 40
	OpAggregateStream  Op = 41
)

// ResponseBytesMax is the largest response the published client takes.
const ResponseBytesMax = 50 << 20

// Doc is a MessagePack map.
type Doc = map[string]any

// Request as it goes over the wire.
type Request struct {
	ID         uint32 `msgpack:"id"`
	Op         Op     `msgpack:"op"`
	Collection string `msgpack:"collection"`
	Database   string `msgpack:"database,omitempty"`
	Args       any    `msgpack:"args"`
	Auth       string `msgpack:"auth,omitempty"`
	NoReply    bool   `msgpack:"nr,omitempty"`
}

// Response as it comes back. Result keeps the bytes the server sent: one nil byte
// and no bytes at all are different answers.
type Response struct {
	ID     uint32
	Error  string
	Result msgpack.RawMessage
}

// DecodeMsgpack reads a response and refuses keys the protocol does not have. It
// is written out because the package decodes a nil into an empty RawMessage.
func (r *Response) DecodeMsgpack(decoder *msgpack.Decoder) error {
	count, err := decoder.DecodeMapLen()
	if err != nil {
		return err
	}
	for range count {
		key, err := decoder.DecodeString()
		if err != nil {
			return err
		}
		switch key {
		case "id":
			r.ID, err = decoder.DecodeUint32()
		case "error":
			r.Error, err = decoder.DecodeString()
		case "result":
			r.Result, err = decoder.DecodeRaw()
		default:
			err = fmt.Errorf("key %q, which no client knows", key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ServerError is an `error` the server answered with.
type ServerError struct{ Message string }

func (e *ServerError) Error() string { return "server: " + e.Message }

// Options say whom to connect to and how.
type Options struct {
	Address  string
	Version  Version
	Username string
	Password string
	Database string // "" leaves the field out
	Timeout  time.Duration

	// CompactInts sends integers as short as they go instead of as wide as their
	// Go type. The protocol takes every width.
	CompactInts bool
}

// Conn is one connection. One goroutine at a time may use it.
type Conn struct {
	Options
	stream net.Conn
	reader *bufio.Reader
	seal   *Sealer // nil on a plain connection
	open   *Sealer
	lastID uint32
}

// Dial connects and, unless the version is plain, makes the handshake.
func Dial(options Options) (*Conn, error) {
	if options.Timeout == 0 {
		options.Timeout = 30 * time.Second
	}
	stream, err := net.DialTimeout("tcp4", options.Address, 10*time.Second)
	if err != nil {
		return nil, err
	}
	c := &Conn{Options: options, stream: stream, reader: bufio.NewReaderSize(stream, 64<<10)}
	if options.Version != VersionPlain {
		if err := stream.SetDeadline(time.Now().Add(options.Timeout)); err != nil {
			stream.Close()
			return nil, err
		}
		both := struct {
			io.Reader
			io.Writer
		}{c.reader, stream}
		psk := PreSharedKey(options.Username, options.Password)
		if c.seal, c.open, err = handshake(both, options.Version, psk); err != nil {
			stream.Close()
			return nil, err
		}
		if err := stream.SetDeadline(time.Time{}); err != nil {
			stream.Close()
			return nil, err
		}
	}
	return c, nil
}

// Close ends the connection.
func (c *Conn) Close() error { return c.stream.Close() }

// Raw gives the TCP connection: for hostile tests.
func (c *Conn) Raw() net.Conn { return c.stream }

// SendSealer gives the client's half of the cipher: for hostile tests.
func (c *Conn) SendSealer() *Sealer { return c.seal }

// ReceiveSealer gives the server's half of the cipher.
func (c *Conn) ReceiveSealer() *Sealer { return c.open }

// Frame puts the length in front of a payload.
func Frame(payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

// WritePayload sends one payload as one frame, sealed where the connection is.
func (c *Conn) WritePayload(payload []byte) error {
	if c.seal != nil {
		payload = c.seal.Seal(payload)
	}
	if err := c.stream.SetWriteDeadline(time.Now().Add(c.Timeout)); err != nil {
		return err
	}
	_, err := c.stream.Write(Frame(payload))
	return err
}

// ReadPayload reads one frame and opens it.
func (c *Conn) ReadPayload() ([]byte, error) {
	if err := c.stream.SetReadDeadline(time.Now().Add(c.Timeout)); err != nil {
		return nil, err
	}
	var length [4]byte
	if _, err := io.ReadFull(c.reader, length[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(length[:])
	if size > ResponseBytesMax {
		return nil, fmt.Errorf("wire: a response of %d bytes is over the client's limit of 50 MiB", size)
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(c.reader, payload); err != nil {
		return nil, err
	}
	if c.open != nil {
		return c.open.Open(payload)
	}
	return payload, nil
}

// Encode gives a value as MessagePack, integers as wide as their Go type.
func Encode(value any) ([]byte, error) { return msgpack.Marshal(value) }

// EncodeCompact gives a value as MessagePack, integers as short as they go.
func EncodeCompact(value any) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := msgpack.NewEncoder(&buffer)
	encoder.UseCompactInts(true)
	err := encoder.Encode(value)
	return buffer.Bytes(), err
}

// NewRequest fills in what this connection says in every request.
func (c *Conn) NewRequest(op Op, collection string, args any) *Request {
	c.lastID++
	request := &Request{ID: c.lastID, Op: op, Collection: collection, Database: c.Database, Args: args}
	if c.Username != "" {
		request.Auth = AuthToken(c.Username, c.Password)
	}
	return request
}

// Send sends a request without waiting for anything.
func (c *Conn) Send(request *Request) error {
	encode := Encode
	if c.CompactInts {
		encode = EncodeCompact
	}
	payload, err := encode(request)
	if err != nil {
		return err
	}
	return c.WritePayload(payload)
}

// Receive reads one response and refuses bytes it cannot account for.
func (c *Conn) Receive() (*Response, error) {
	payload, err := c.ReadPayload()
	if err != nil {
		return nil, err
	}
	response := &Response{}
	reader := bytes.NewReader(payload)
	if err := msgpack.NewDecoder(reader).Decode(response); err != nil {
		return nil, fmt.Errorf("wire: response % x: %w", head(payload), err)
	}
	if reader.Len() != 0 {
		return nil, fmt.Errorf("wire: %d bytes behind the response % x", reader.Len(), head(payload))
	}
	return response, nil
}

func head(b []byte) []byte { return b[:min(len(b), 64)] }

// Call sends a request and waits for its response.
func (c *Conn) Call(op Op, collection string, args any) (msgpack.RawMessage, error) {
	request := c.NewRequest(op, collection, args)
	if err := c.Send(request); err != nil {
		return nil, err
	}
	response, err := c.Receive()
	if err != nil {
		return nil, err
	}
	if response.ID != request.ID {
		return nil, fmt.Errorf("wire: response %d to request %d", response.ID, request.ID)
	}
	if response.Error != "" {
		return nil, &ServerError{response.Error}
	}
	return response.Result, nil
}

// Pool hands requests round a fixed number of connections, as the published
// client does; a connection that broke is dialled again by its next user.
type Pool struct {
	options Options
	mu      sync.Mutex
	next    int
	slots   []*poolSlot
}

type poolSlot struct {
	mu   sync.Mutex
	conn *Conn
}

// NewPool opens `size` connections.
func NewPool(options Options, size int) (*Pool, error) {
	p := &Pool{options: options}
	for range size {
		conn, err := Dial(options)
		if err != nil {
			p.Close()
			return nil, err
		}
		p.slots = append(p.slots, &poolSlot{conn: conn})
	}
	return p, nil
}

// Close ends all connections.
func (p *Pool) Close() {
	for _, slot := range p.slots {
		slot.mu.Lock()
		if slot.conn != nil {
			slot.conn.Close()
			slot.conn = nil
		}
		slot.mu.Unlock()
	}
}

// Call runs a request on the next connection. An error other than ServerError
// leaves it open whether the request was carried out; the caller decides
// whether to repeat it.
func (p *Pool) Call(op Op, collection string, args any) (msgpack.RawMessage, error) {
	p.mu.Lock()
	slot := p.slots[p.next%len(p.slots)]
	p.next++
	p.mu.Unlock()

	slot.mu.Lock()
	defer slot.mu.Unlock()
	if slot.conn == nil {
		conn, err := Dial(p.options)
		if err != nil {
			return nil, err
		}
		slot.conn = conn
	}
	result, err := slot.conn.Call(op, collection, args)
	var serverError *ServerError
	if err != nil && !errors.As(err, &serverError) {
		slot.conn.Close()
		slot.conn = nil
	}
	return result, err
}
