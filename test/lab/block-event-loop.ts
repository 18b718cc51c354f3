/**
 * Blocks the event loop of a Node process that listens for a debugger (SIGUSR1) in this network namespace, as a runaway computation
 * would: node block-event-loop.ts MILLISECONDS. Ends when the process has been told; nothing in it runs from then on.
 */
const [milliseconds = '30000'] = process.argv.slice(2);

const listed = await fetch('http://127.0.0.1:9229/json');
const [target] = (await listed.json()) as { webSocketDebuggerUrl: string }[];
if (target === undefined) throw new Error('the process offers nothing to debug');
const socket = new WebSocket(target.webSocketDebuggerUrl);
await new Promise((resolve, reject) => {
  socket.addEventListener('open', resolve);
  socket.addEventListener('error', reject);
});
// Answered before it runs: the loop is entered by a timer.
const expression = `setTimeout(() => { const end = Date.now() + ${Number(milliseconds)}; while (Date.now() < end); }, 1), 0`;
socket.send(JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression } }));
await new Promise((resolve) => socket.addEventListener('message', resolve));
socket.close();
