/** Players whom `npm start` makes for newcomers to try. They begin without a score. */
export const demoPlayers = [
  'ada',
  'grace',
  'linus',
  'margaret',
  'alan',
  'katherine',
  'edsger',
  'barbara',
  'donald',
  'hedy',
  'dennis',
  'radia',
];
export const demoPassword = 'laurel-demo';
