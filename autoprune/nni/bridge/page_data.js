// What the pages show, asked of a Python process that works it out (autoprune/nni/page_data.py). It is started by the first
// question and kept. One that has died is replaced when somebody asks again; it ends when this process does.

'use strict';

const { spawn } = require('node:child_process');
const readline = require('node:readline');

const LONGEST_ANSWER_MS = 20000;
const PAUSE_MS = 5000; // before another try, where not even a first answer came
const LOG = 'see log/nnictl_stderr.log';

class PageData {
    // nni: the manager's globals, with its paths and arguments.
    constructor(nni) {
        this.nni = nni;
        this.child = null;
        this.waiting = []; // for the answers, in the order of the questions
        this.failed = { reason: '', until: 0 };
    }

    // Returns an answer's HTTP status and its JSON, as a promise that is always kept.
    ask(question) {
        if (this.child === null && Date.now() < this.failed.until) {
            return Promise.resolve(unavailable(this.failed.reason));
        }
        this.child ??= this.start();
        const { child } = this;
        return new Promise(resolve => {
            const timer = setTimeout(() => {
                this.end(child, `it took longer than ${LONGEST_ANSWER_MS / 1000} s`);
                child.kill('SIGKILL');
            }, LONGEST_ANSWER_MS);
            this.waiting.push(answer => { clearTimeout(timer); resolve(answer); });
            child.stdin.write(`${JSON.stringify(question)}\n`);
        });
    }

    start() {
        const words = ['-P', '-m', 'autoprune.nni.page_data', this.nni.paths.experimentRoot];
        const child = spawn(this.nni.args.pythonInterpreter, words, { stdio: ['pipe', 'pipe', 'inherit'] });
        child.hasAnswered = false;
        child.stdin.on('error', () => {}); // it has died, and 'close' follows
        child.on('error', error => this.end(child, error.message));
        child.on('close', (status, signal) => this.end(child, `its process ended with ${signal ?? `status ${status}`}; ${LOG}`));
        readline.createInterface({ input: child.stdout }).on('line', line => {
            if (this.child === child) {
                child.hasAnswered = true;
                this.waiting.shift()?.([Number(line.slice(0, 3)), line.slice(4)]);
            }
        });
        return child;
    }

    // All who wait for `child` are told why nothing comes.
    end(child, reason) {
        if (this.child !== child) {
            return;
        }
        this.child = null;
        this.failed = { reason, until: child.hasAnswered ? 0 : Date.now() + PAUSE_MS };
        this.waiting.splice(0).forEach(answer => answer(unavailable(reason)));
    }
}

function unavailable(reason) {
    return [503, JSON.stringify({ error: `the results cannot be read: ${reason}` })];
}

module.exports = { PageData };
