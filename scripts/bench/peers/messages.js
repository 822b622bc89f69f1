// Messages of Node's cluster, as bench_messages measures those of this library: `node messages.js one-way|round-trip`.
'use strict';

const cluster = require('node:cluster');

const SMALL = 'x'.repeat(64);
const ONE_WAY = 200_000;
const ROUND_TRIPS = 10_000;
const what = process.argv[2];

// As many as the channel takes without a backlog, then on when the last of them is out: Node has no other way to wait.
function pour(sent) {
    while (sent < ONE_WAY) {
        sent += 1;
        if (!process.send(SMALL, () => {})) {
            return void process.send(SMALL, () => pour(sent + 1));
        }
    }
}

function oneWay() {
    let start;
    let count = 0;
    cluster.fork().on('message', () => {
        start ??= process.hrtime.bigint();
        if (++count === ONE_WAY) {
            console.log(`per_second=${Math.round(ONE_WAY / (Number(process.hrtime.bigint() - start) / 1e9))}`);
            process.exit();
        }
    });
}

function roundTrip() {
    const worker = cluster.fork();
    const times = [];
    let start;
    const send = () => {
        start = process.hrtime.bigint();
        worker.send(SMALL);
    };
    worker.on('online', send).on('message', () => {
        times.push(Number(process.hrtime.bigint() - start) / 1e3);
        if (times.length < ROUND_TRIPS) return send();
        times.sort((a, b) => a - b);
        const percentile = (percent) => times[Math.floor((times.length * percent) / 100)].toFixed(2);
        console.log(`p50_us=${percentile(50)} p99_us=${percentile(99)}`);
        process.exit();
    });
}

if (cluster.isPrimary) {
    what === 'one-way' ? oneWay() : roundTrip();
} else if (what === 'one-way') {
    pour(0);
} else {
    process.on('message', (message) => process.send(message));
}
