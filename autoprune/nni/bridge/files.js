// Files: read, where trials may have written them, without following a link or waiting for a pipe; written whole.

'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
const MOST_BYTES = 32 * 1024 * 1024;

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

// Returns the text of a regular file, or null if it is not there, a link, a pipe, or absurdly large.
function readText(file) {
    let descriptor;
    try {
        descriptor = fs.openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
        const status = fs.fstatSync(descriptor);
        return status.isFile() && status.size <= MOST_BYTES ? fs.readFileSync(descriptor, 'utf8') : null;
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

module.exports = { UNTRUSTED, fileInside, isOwnFolder, readText, writeWhole };
