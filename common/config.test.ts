import { expect } from 'chai';
import { ConfigError, loadConfig } from './config.ts';

const strong = 'k3Jr9vQm2LxT7pWz8YbN4cHd6FgS1aEu';
const other = 'Zq8sV2nKx5RtJw9PbYc3MhLd7GfA4eUo';
const production = {
  NODE_ENV: 'production',
  JWT_SECRETS: strong,
  ACTION_TOKEN_SECRETS: other,
  DATABASE_URL: 'postgres://db/laurel',
  REDIS_URL: 'redis://cache:6379',
};

describe('loadConfig', () => {
  it('fills defaults and freezes the result', () => {
    const config = loadConfig({});
    expect(config.PORT).to.equal(3000);
    expect(config.RATE_LIMIT_COMPLETE_PER_MINUTE).to.equal(10);
    expect(config.PUBLIC_READS).to.equal(true);
    expect(Object.isFrozen(config)).to.equal(true);
  });

  it('reads lists, newest first, and treats an empty variable as not set', () => {
    const config = loadConfig({ JWT_SECRETS: `${strong}, ${other}`, PORT: '' });
    expect(config.JWT_SECRETS).to.deep.equal([strong, other]);
    expect(config.PORT).to.equal(3000);
  });

  it('takes the name of the administrator as registration would', () => {
    const { ADMIN_USERNAME } = loadConfig({ ADMIN_USERNAME: 'Jose\u0301' });
    expect(ADMIN_USERNAME).to.equal('Jos\u00e9');
    expect(loadConfig({ ADMIN_USERNAME: 'chief 🦊', USERNAME_EMOJI: 'true' }).ADMIN_USERNAME).to.equal(
      'chief 🦊',
    );
  });

  const wrong: [string, Record<string, string>, RegExp][] = [
    ['a port out of range', { PORT: '70000' }, /PORT must be at most 65535/],
    ['a word for a number', { COMPLETE_WAIT_MS: 'soon' }, /COMPLETE_WAIT_MS must be a number/],
    [
      'an action token that lives too long',
      { ACTION_TOKEN_TTL_SECONDS: '301' },
      /ACTION_TOKEN_TTL_SECONDS .*300/,
    ],
    ['a URL of the wrong kind', { DATABASE_URL: 'mysql://x/y' }, /DATABASE_URL .*postgres/],
    [
      'a word that is not in the list',
      { USER_PROVISIONING: 'yes' },
      /USER_PROVISIONING must be one of: off, auto/,
    ],
    ['a short secret', { JWT_SECRETS: 'short' }, /JWT_SECRETS must hold secrets of at least 32 bytes/],
    ['one secret for both purposes', { JWT_SECRETS: strong, ACTION_TOKEN_SECRETS: strong }, /must not share/],
    [
      'production without secrets',
      { ...production, JWT_SECRETS: '' },
      /JWT_SECRETS is required in production/,
    ],
    [
      'production with a guessable secret',
      { ...production, JWT_SECRETS: 'a'.repeat(40) },
      /JWT_SECRETS looks like a default/,
    ],
    [
      'an address in place of a host of avatars',
      { ...production, AVATAR_HOSTS: 'cdn.example.com,https://cdn.example.com/' },
      /AVATAR_HOSTS must be host names, without https/,
    ],
    [
      'an administrator of a name that registration refuses',
      { ADMIN_USERNAME: 'ops@example.org' },
      /ADMIN_USERNAME must be 3 to 50 letters or digits .*as in registration/,
    ],
    [
      'an administrator with emoji, which names may not have',
      { ADMIN_USERNAME: 'chief 🦊' },
      /ADMIN_USERNAME must be 3 to 50 letters/,
    ],
    [
      'a password with which nobody could sign in',
      { ADMIN_PASSWORD: 'x'.repeat(201) },
      /ADMIN_PASSWORD must have at most 200 characters/,
    ],
    [
      'production without a database',
      { ...production, DATABASE_URL: '' },
      /DATABASE_URL is required in production/,
    ],
    [
      'production with keys over http',
      { ...production, JWT_JWKS_URL: 'http://id.example/jwks', JWT_AUDIENCE: 'laurel' },
      /JWT_JWKS_URL must be an https address in production/,
    ],
    [
      'production with keys for every audience',
      { ...production, JWT_JWKS_URL: 'https://id.example/jwks' },
      /JWT_JWKS_URL needs JWT_ISSUER or JWT_AUDIENCE in production/,
    ],
  ];
  for (const [what, env, message] of wrong) {
    it(`refuses ${what}, and says what is allowed`, () => {
      expect(() => loadConfig(env)).to.throw(ConfigError, message);
    });
  }

  it('takes keys over http from this host, and outside of production from anywhere', () => {
    const { JWT_JWKS_URL } = loadConfig({ JWT_JWKS_URL: 'http://id.example/jwks' });
    expect(JWT_JWKS_URL).to.equal('http://id.example/jwks');
    const own = {
      ...production,
      JWT_JWKS_URL: 'http://127.0.0.1:8080/jwks',
      JWT_ISSUER: 'https://id.example',
    };
    expect(loadConfig(own).JWT_JWKS_URL).to.equal('http://127.0.0.1:8080/jwks');
  });

  it('names every wrong variable at once and repeats no secret', () => {
    expect(() => loadConfig({ PORT: 'x', LOG_LEVEL: 'loud', JWT_SECRETS: 'tiny-secret' }))
      .to.throw(ConfigError)
      .with.property('message')
      .that.includes('PORT')
      .and.includes('LOG_LEVEL')
      .and.not.includes('tiny-secret');
  });
});
