// Questions yield to the search: they are answered one at a time, with pauses in between, and all who ask the same while
// it waits get one answer. No answer is older than its question.

'use strict';

const { AsyncResource } = require('node:async_hooks');

const PAUSE = 3; // times what the answer took
const [SHORTEST_PAUSE_MS, LONGEST_PAUSE_MS] = [50, 3000];
const LONGEST_TURN_MS = 30000;
const MOST_WAITING = 200;

class Turns {
    constructor() {
        this.questions = new Map(); // by URL: those who wait for the answer, { response, next } each
        this.waiting = 0;
        this.busy = false;
    }

    // An express middleware.
    take(request, response, next) {
        if (this.waiting >= MOST_WAITING) {
            response.set('Retry-After', '1').status(503).json({ error: 'too many requests at once' });
            return;
        }
        delete request.headers['if-none-match']; // the answer is for others too
        const question = `${request.method} ${request.originalUrl}`;
        this.questions.set(question, [...(this.questions.get(question) ?? []), { response, next: AsyncResource.bind(next) }]);
        this.waiting += 1;
        this.turn();
    }

    turn() {
        if (this.busy || this.questions.size === 0) {
            return;
        }
        const [question, all] = this.questions.entries().next().value;
        this.questions.delete(question);
        this.waiting -= all.length;
        const [first, ...others] = all.filter(each => !each.response.destroyed);
        if (first === undefined) {
            this.turn();
            return;
        }
        this.busy = true;
        const start = performance.now();
        const over = once(() => {
            clearTimeout(timer);
            const pause = Math.max(PAUSE * (performance.now() - start), SHORTEST_PAUSE_MS);
            setTimeout(() => { this.busy = false; this.turn(); }, Math.min(pause, LONGEST_PAUSE_MS));
        });
        const timer = setTimeout(() => {
            others.forEach(({ response }) => response.status(503).end());
            over();
        }, LONGEST_TURN_MS);
        shareAnswer(first.response, others.map(each => each.response), over);
        first.next();
    }
}

// Gives `others` the answer that `response` is about to get, and calls `over`.
function shareAnswer(response, others, over) {
    response.once('close', over); // who asked may have gone, and then nobody ends it
    const end = response.end;
    response.end = function (body, ...rest) {
        response.end = end;
        others.filter(other => !other.writableEnded).forEach(other => {
            other.writeHead(response.statusCode, response.getHeaders()).end(body);
        });
        over();
        return end.call(response, body, ...rest);
    };
}

function once(action) {
    let called = false;
    return () => {
        if (!called) {
            called = true;
            action();
        }
    };
}

module.exports = { Turns };
