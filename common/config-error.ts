/** A setting is missing or wrong. The message names every such variable, and what is allowed. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}
