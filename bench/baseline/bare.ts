/** Nothing but node:http: answers every request with one answer, which it is given as JSON in ANSWER. */
import { createServer } from 'node:http';

export interface BareAnswer {
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
}

const { headers, body } = JSON.parse(process.env['ANSWER'] ?? '{}') as BareAnswer;

createServer((_request, response) => {
  for (const [name, value] of headers) response.setHeader(name, value);
  response.end(body);
}).listen(Number(process.env['PORT']), process.env['HOST']);
