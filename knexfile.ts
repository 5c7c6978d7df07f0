import type { Knex } from 'knex';
import { migrationSource } from './migrations/index.ts';

const config: Knex.Config = {
  client: 'pg',
  connection: process.env['MIGRATE_DATABASE_URL'] ?? process.env['DATABASE_URL'] ?? '',
  migrations: { migrationSource },
};

export default config;
