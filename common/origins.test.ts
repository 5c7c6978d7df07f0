import { expect } from 'chai';
import { normalizeOrigin, originCheck } from './origins.ts';

describe('normalizeOrigin', () => {
  const right: [string, string][] = [
    ['https://game.example', 'https://game.example'],
    ['https://Game.Example/', 'https://game.example'],
    ['https://game.example:443', 'https://game.example'],
    ['http://localhost:5173', 'http://localhost:5173'],
    ['http://localhost:*', 'http://localhost:*'],
    ['capacitor://localhost', 'capacitor://localhost'],
    ['https://spiel.münchen.example', 'https://spiel.xn--mnchen-3ya.example'],
  ];
  for (const [given, expected] of right)
    it(`takes ${given}`, () => expect(normalizeOrigin(given)).to.equal(expected));

  for (const [given, reason] of [
    ['*', /must not be `\*`/],
    ['game.example', /no origin.*https:\/\/game.example/],
    ['https://game.example/play', /scheme and host only/],
    ['https://*.game.example', /no origin/],
    ['https://game.example:*', /no origin/],
  ] as const)
    it(`refuses ${given}`, () => expect(() => normalizeOrigin(given)).to.throw(reason));
});

describe('originCheck', () => {
  const allows = originCheck(['https://game.example', 'http://localhost:*']);
  for (const [origin, allowed] of [
    ['https://game.example', true],
    ['http://game.example', false],
    ['https://game.example.evil.example', false],
    ['http://localhost', true],
    ['http://localhost:5173', true],
    ['http://localhost:5173.evil.example', false],
    ['http://localhost.evil.example:80', false],
    ['null', false],
  ] as const)
    it(`${allowed ? 'allows' : 'refuses'} ${origin}`, () => expect(allows(origin)).to.equal(allowed));
});
