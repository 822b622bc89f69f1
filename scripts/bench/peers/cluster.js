// Node's cluster: `node cluster.js PORT WORKERS`.
'use strict';

const cluster = require('node:cluster');
const http = require('node:http');

const [port, workers] = process.argv.slice(2).map(Number);
const body = 'Hello, World!';
const head = {'Content-Type': 'text/plain', 'Content-Length': body.length};

if (cluster.isPrimary) {
    for (let worker = 0; worker < workers; worker++) cluster.fork();
} else {
    // The default of 5 seconds would close idle connections while they are counted.
    const options = {keepAliveTimeout: 75_000};
    http.createServer(options, (request, response) => response.writeHead(200, head).end(body)).listen(port, '127.0.0.1');
}
