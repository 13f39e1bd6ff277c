// Copyright 2026 The alos Authors.
// SPDX-License-Identifier: Apache-2.0
//
// Answers questions with mingo: a line of JSON in, a line of JSON out.
// Usage: node mingo_child.js DIRECTORY (of the unpacked npm package)
//
// A line is an array of requests, answered by an array:
//
//   {documents: [..]}                                 what the next requests are about; true
//   {find: filter, sort, skip, limit, projection}     {matches: [index, ..], results: [..]}
//   {update: update, filter, arrayFilters, indices}   {results: [[document] or error, ..]}
//   {aggregate: pipeline}                             {results: [..]}
//   anything that mingo throws at                     {error: message}
//
// Values are written as alos/document/json.h writes them.
'use strict';

const path = require('path');
const readline = require('readline');
const mingo = require(path.resolve(process.argv[2]));

// A MessagePack extension, which JavaScript does not know.
class Extension {
  constructor(content) { this.content = content; }
  toString() { return JSON.stringify(this.content); }
}

const wrappers = {
  $date: (v) => new Date(typeof v === 'object' ? Number(v.seconds) * 1000 + v.nanoseconds / 1e6 : v),
  $numberLong: Number,
  $numberUlong: Number,
  $numberDouble: Number,
  $binary: (v) => new Uint8Array(Buffer.from(v.base64, 'base64')),
  $ext: (v) => new Extension(v),
  $object: (v) => v,
  $string: (v) => Buffer.from(v.base64, 'base64').toString('latin1'),
};

function revive(key, value) {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  let only = null;
  for (const name in value) {
    if (only !== null) return value;
    only = name;
  }
  return only !== null && only[0] === '$' && Object.hasOwn(wrappers, only) ? wrappers[only](value[only]) : value;
}

function plain(value) {
  switch (typeof value) {
    case 'undefined': return null;
    case 'string': return value.toWellFormed();  // Half a character is no JSON.
    case 'number':
      if (!Number.isFinite(value)) return { $numberDouble: String(value) };
      if (Object.is(value, -0)) return { $numberDouble: '-0.0' };
      if (Number.isInteger(value) && !Number.isSafeInteger(value)) return { $numberDouble: value.toExponential() };
      return value;
    case 'bigint': return { $numberLong: String(value) };
    case 'object': break;
    default: return value;
  }
  if (value === null) return null;
  if (Array.isArray(value)) return Array.from(value, plain);
  if (value instanceof Date && Number.isNaN(value.getTime())) return 'an invalid date';
  if (value instanceof Date) return { $date: { $numberLong: String(value.getTime()) } };
  if (value instanceof Uint8Array) return { $binary: { base64: Buffer.from(value).toString('base64'), subType: '00' } };
  if (value instanceof Extension) return { $ext: value.content };
  const result = {};
  for (const key of Object.keys(value)) if (value[key] !== undefined) result[key] = plain(value[key]);
  return result;
}

let documents = [];

const clone = (document) => {
  if (document === null || typeof document !== 'object' || document instanceof Extension) return document;
  if (Array.isArray(document)) return document.map(clone);
  if (document instanceof Date) return new Date(document);
  if (document instanceof Uint8Array) return new Uint8Array(document);
  const copy = {};
  for (const key of Object.keys(document)) copy[key] = clone(document[key]);
  return copy;
};

function find(request) {
  const query = new mingo.Query(request.find);
  const matches = [];
  documents.forEach((document, index) => { if (query.test(document)) matches.push(index); });
  let cursor = mingo.find(documents.map(clone), request.find, request.projection);
  if (request.sort && Object.keys(request.sort).length > 0) cursor = cursor.sort(request.sort);
  if (request.skip) cursor = cursor.skip(request.skip);
  if (request.limit) cursor = cursor.limit(request.limit);
  return { matches, results: cursor.all().map(plain) };
}

function update(request) {
  // Which documents are to be updated was decided. A filter is needed for `$` only, where mingo matches again.
  const positional = !request.replacement && !Array.isArray(request.update) && Object.values(request.update).some(
    (fields) => Object.keys(fields).some((field) => field.split('.').includes('$')));
  const filter = positional ? request.filter : {};
  const results = request.indices.map((index) => {
    try {
      const copy = [clone(documents[index])];
      // mingo has no replacement.
      if (request.replacement) return [plain({ _id: copy[0]._id, ...request.update })];
      const options = request.arrayFilters ? { arrayFilters: request.arrayFilters } : {};
      mingo.updateOne(copy, filter, clone(request.update), { ...options, cloneMode: 'deep' });
      return [plain(copy[0])];
    } catch (error) {
      return String(error.message);
    }
  });
  return { results };
}

function aggregate(request) {
  const options = { collectionResolver: () => documents.map(clone) };
  return { results: mingo.aggregate(documents.map(clone), request.aggregate, options).map(plain) };
}

function answer(request) {
  try {
    if (request.documents) {
      documents = request.documents;
      return true;
    }
    if (request.find) return find(request);
    if (request.update) return update(request);
    if (request.aggregate) return aggregate(request);
    return { error: 'not a request' };
  } catch (error) {
    return { error: String(error.message) };
  }
}

readline.createInterface({ input: process.stdin, crlfDelay: Infinity }).on('line', (line) => {
  process.stdout.write(JSON.stringify(JSON.parse(line, revive).map(answer)) + '\n');
});
