import { expect } from 'chai';
import { parsePostgresAddress, withoutPassword } from './postgres-address.ts';

const at = (host: string, port = 5432) => ({ host, port });

describe('parsePostgresAddress', () => {
  const hosts: [string, ReturnType<typeof at>[]][] = [
    ['postgres://u:p@db/laurel', [at('db')]],
    ['postgresql://u:p@db:6432/laurel', [at('db', 6432)]],
    ['postgres://u:p@[2001:db8::1]:5433/laurel', [at('2001:db8::1', 5433)]],
    ['postgres://u:p@one:5433,two/laurel', [at('one', 5433), at('two')]],
    ['postgres://u@/laurel?host=/var/run/postgresql', [at('/var/run/postgresql')]],
    ['postgres://u@%2Ftmp/laurel', [at('/tmp')]],
    ['postgres:///laurel?host=one,two&port=1,2', [at('one', 1), at('two', 2)]],
    ['postgres:///laurel?host=one,two&port=7', [at('one', 7), at('two', 7)]],
    ['postgres:///laurel', [at('localhost')]],
  ];
  for (const [url, expected] of hosts)
    it(`finds the hosts of ${url}`, () => expect(parsePostgresAddress(url).hosts).to.deep.equal(expected));

  it('takes user, password and database apart, encoded or not', () => {
    const expected = { user: 'me', password: 'p@ss:/?', database: 'laurel' };
    for (const url of [
      'postgres://me:p%40ss%3A%2F%3F@db/laurel',
      'postgres://db/laurel?user=me&password=p%40ss:/%3F',
      'postgres://db?dbname=laurel&user=me&password=p%40ss%3A%2F%3F',
    ])
      expect(parsePostgresAddress(url)).to.deep.include(expected);
  });

  const protections: [string, unknown[]][] = [
    ['', [false]],
    ['?sslmode=disable', [false]],
    ['?sslmode=allow', [false, { rejectUnauthorized: false }]],
    ['?sslmode=prefer', [{ rejectUnauthorized: false }, false]],
    ['?sslmode=require', [{ rejectUnauthorized: false }]],
    ['?sslmode=no-verify', [{ rejectUnauthorized: false }]],
    ['?sslmode=verify-full', [{ rejectUnauthorized: true }]],
    ['?sslmode=verify-full&sslrootcert=system', [{ rejectUnauthorized: true }]],
  ];
  for (const [query, expected] of protections)
    it(`protects ${query || 'nothing unless asked to'}`, () =>
      expect(parsePostgresAddress(`postgres://db/x${query}`).protections).to.deep.equal(expected));

  it('looks at the chain alone with verify-ca', () => {
    const [protection] = parsePostgresAddress('postgres://db/x?sslmode=verify-ca').protections;
    expect(protection).to.have.property('rejectUnauthorized', true);
    expect(protection).to.have.property('checkServerIdentity');
  });

  const wrong: [string, RegExp][] = [
    ['mysql://db/x', /must be an address such as postgres:/],
    ['postgres://db:port/x', /no host that can be read/],
    ['postgres://db/x?sslmode=always', /sslmode=always. It can be disable, allow, prefer/],
    [
      'postgres://db/x?sslmode=verify-ca&sslrootcert=/nowhere.pem',
      /sslrootcert=\/nowhere.pem, which cannot be read/,
    ],
    ['postgres://u:100%@db/x', /Write a % of a password as %25/],
    ['postgres://db/x?target_session_attrs=standby', /Use read-write/],
  ];
  for (const [url, reason] of wrong)
    it(`says what is wrong with ${url}`, () => expect(() => parsePostgresAddress(url)).to.throw(reason));

  it('is shown without the password', () => {
    expect(withoutPassword('postgres://me:s@cr:et@one,two/x?password=secret&sslmode=require')).to.equal(
      'postgres://me:***@one,two/x?password=***&sslmode=require',
    );
    expect(withoutPassword('redis://:secret@host:6379/1')).to.equal('redis://:***@host:6379/1');
    expect(withoutPassword('redis://host:6379')).to.equal('redis://host:6379');
  });
});
