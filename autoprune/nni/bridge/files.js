// Files: read, where trials may have written them, without following a link or waiting for a pipe; written whole.

'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;

// What a trial may have written is shown and never run: not a script, not a page of ours.
const UNTRUSTED = {
    'Content-Security-Policy': "default-src 'none'; sandbox; frame-ancestors 'none'",
    'X-Content-Type-Options': 'nosniff',
};

// Returns the real path of the regular file `name` in `folder`, or null if there is none or it lies elsewhere.
function fileInside(folder, name) {
    try {
        const root = fs.realpathSync(folder);
        const file = fs.realpathSync(path.join(root, name));
        return file.startsWith(root + path.sep) && fs.statSync(file).isFile() ? file : null;
    } catch {
        return null; // not there, or a NUL in the name
    }
}

// Whether `folder` is one, and no link to one.
function isOwnFolder(folder) {
    return fs.lstatSync(folder, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

// Returns the last whole lines of a regular file, of at most that many bytes, or null if it is not there, a link or a pipe.
function readEnd(file, bytes) {
    let descriptor;
    try {
        descriptor = fs.openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
        const status = fs.fstatSync(descriptor);
        if (!status.isFile()) {
            return null;
        }
        const buffer = Buffer.alloc(Math.min(status.size, bytes));
        const count = fs.readSync(descriptor, buffer, 0, buffer.length, status.size - buffer.length);
        const text = buffer.toString('utf8', 0, count);
        return status.size > bytes ? text.slice(text.indexOf('\n') + 1) : text;
    } catch {
        return null;
    } finally {
        if (descriptor !== undefined) {
            fs.closeSync(descriptor);
        }
    }
}

// Writes a whole file or, if this process is killed meanwhile, none: a reader sees the old one or the new one.
function writeWhole(file, text) {
    const draft = `${file}.${process.pid}.partial`;
    fs.writeFileSync(draft, text);
    fs.renameSync(draft, file);
}

module.exports = { UNTRUSTED, fileInside, isOwnFolder, readEnd, writeWhole };
