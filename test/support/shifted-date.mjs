// Loaded before everything else by a process whose clock is to be wrong: DATE_SHIFT_MS says by how much.
const shift = Number(process.env.DATE_SHIFT_MS);
const Right = globalThis.Date;
globalThis.Date = class Date extends Right {
  constructor(...args) {
    if (args.length === 0) super(Right.now() + shift);
    else super(...args);
  }
  static now() {
    return Right.now() + shift;
  }
};
