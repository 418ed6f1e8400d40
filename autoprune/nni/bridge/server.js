// Node's own servers, mended for every server that NNI opens: where they listen, and which requests reach NNI at all.

'use strict';

const http = require('node:http');
const net = require('node:net');
const boundary = require('./boundary.js');
const guard = require('./guard.js');

function listenOnLoopback() {
    const listen = net.Server.prototype.listen;
    const { openedAddress, ANY_ADDRESS } = guard;
    net.Server.prototype.listen = function (...args) {
        const [options, callback] = net._normalizeArgs(args);
        if (options.port === undefined) {
            return listen.apply(this, args); // a pipe
        }
        const host = ANY_ADDRESS.includes(openedAddress) ? openedAddress : '127.0.0.1';
        if (openedAddress !== undefined && openedAddress !== host) {
            // The tuner and local trials keep using loopback; this second listener leads to the same server.
            this.once('listening', () => {
                const second = net.createServer(socket => this.emit('connection', socket));
                second.on('error', error => this.emit('error', error));
                this.once('close', () => second.close());
                listen.call(second, { host: openedAddress, port: this.address().port });
            });
        }
        return listen.call(this, { ...options, host }, callback);
    };
}

// nni: returns the manager's globals.
function refuseForeignRequests(nni) {
    const emit = http.Server.prototype.emit;
    http.Server.prototype.emit = function (event, ...args) {
        if (event !== 'request' && event !== 'upgrade') {
            return emit.call(this, event, ...args);
        }
        const [request, reply] = args; // a response, or an upgrade's socket
        const upgrade = event === 'upgrade';
        if (upgrade) {
            reply.on('error', () => reply.destroy()); // Node has taken its own listener away
        }
        boundary.contain(() => fail(reply), () => {
            const refused = guard.refusal(request) ?? (upgrade ? guard.webSocketRefusal(request, nni().args) : null);
            const headers = upgrade || refused !== null ? null : guard.tokenToCookie(request);
            if (refused !== null) {
                (upgrade ? refuseUpgrade : refuse)(reply, ...refused);
            } else if (headers !== null) {
                reply.writeHead(303, headers).end();
            } else {
                emit.call(this, event, ...args);
            }
        });
        return true;
    };
}

function refuse(response, status, reason) {
    response.writeHead(status, { 'Content-Type': 'text/plain', Connection: 'close' });
    response.end(reason);
}

function refuseUpgrade(socket, status) {
    socket.end(`HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\nConnection: close\r\n\r\n`);
}

function fail(reply) {
    if (reply.writableFinished) {
        return; // it was answered before that
    }
    if (!(reply instanceof http.ServerResponse) || reply.headersSent) {
        reply.destroy();
    } else {
        refuse(reply, 500, http.STATUS_CODES[500]);
    }
}

module.exports = { listenOnLoopback, refuseForeignRequests };
