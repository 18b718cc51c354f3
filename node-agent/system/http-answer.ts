/** Reading an answer over HTTP that somebody else may make as long as he likes. */
import type { IncomingMessage } from 'node:http';

/**
 * Reads the body of an answer; never holds more of it than `maxBytes` and the piece that exceeds them. A longer one ends its connection.
 * @param what it is, for the words of the error.
 * @throws Error when it is longer, or cut off before its end.
 */
export function readAnswer(answer: IncomingMessage, maxBytes: number, what = 'the answer'): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    answer.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > maxBytes) answer.destroy(new Error(`${what} is too long`));
      else chunks.push(chunk);
    });
    answer.on('error', reject);
    answer.on('end', () => resolve(Buffer.concat(chunks)));
  });
}
