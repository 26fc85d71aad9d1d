// Serves a GGUF file through node-llama-cpp as the streaming completions endpoint of
// OpenAI: node llama_server.mjs NODE_MODULES MODEL.gguf SEQUENCES. Prints the port that it
// listens on. Sequences are batched by llama.cpp; more requests wait for a free one.
import http from "node:http";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [modules, modelPath, sequences] = process.argv.slice(2);
const entry = path.resolve(modules, "node-llama-cpp", "dist", "index.js");
const { getLlama } = await import(pathToFileURL(entry).href);

// One thread: the spin barriers of several are slow on shared processors.
const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, maxThreads: 1, logLevel: "error" });
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ sequences: Number(sequences), contextSize: 1024, batchSize: 512, threads: 1 });
const free = Array.from({ length: Number(sequences) }, () => context.getSequence());
const waiting = [];

const take = () => free.length > 0 ? Promise.resolve(free.pop()) : new Promise((resolve) => waiting.push(resolve));
const give = (sequence) => waiting.length > 0 ? waiting.shift()(sequence) : free.push(sequence);

const refuse = (response, status, message) => {
    response.writeHead(status, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ error: { message, type: "invalid_request_error", param: "", code: "" } }));
};

async function complete(request, response) {
    let body = "";
    for await (const piece of request) body += piece;
    const question = JSON.parse(body);
    if (typeof question.prompt !== "string") return refuse(response, 400, "prompt must be text");
    const prompt = [model.tokens.bos, ...model.tokenize(question.prompt)];
    if (prompt.length + question.max_tokens > 1024) return refuse(response, 400, "too long");

    response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" });
    const send = (event) => response.write(`data: ${typeof event === "string" ? event : JSON.stringify(event)}\n\n`);
    let gone = false;
    response.on("close", () => { gone = true; });

    const sequence = await take();
    let count = 0;
    try {
        for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
            count++;
            const last = count >= question.max_tokens;
            send({ object: "text_completion", choices: [{ index: 0, text: model.detokenize([token]), finish_reason: last ? "length" : null }] });
            if (last || gone) break;
        }
        await sequence.clearHistory();
    } finally {
        give(sequence);
    }
    if (question.stream_options?.include_usage)
        send({ object: "text_completion", choices: [], usage: { prompt_tokens: prompt.length, completion_tokens: count, total_tokens: prompt.length + count } });
    send("[DONE]");
    response.end();
}

const server = http.createServer((request, response) => {
    if (request.url === "/v1/models") {
        response.writeHead(200, { "Content-Type": "application/json" });
        response.end(JSON.stringify({ object: "list", data: [{ id: "random", object: "model" }] }));
    } else if (request.url === "/v1/completions" && request.method === "POST") {
        complete(request, response).catch((error) => response.destroy(error));
    } else {
        refuse(response, 404, "no such endpoint");
    }
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
