/** What a name means in requests and responses, for schemas that do not say it themselves. */
interface Word {
  readonly description?: string;
  readonly example?: unknown;
  /** for schemas that the first one does not fit */
  readonly otherExamples?: readonly unknown[];
}

const USER = '01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10';
const AT = '2026-03-02T18:30:00.000Z';

const id = (description: string, example: string): Word => ({ description, example });
const instant = (description: string, example = AT): Word => ({ description, example });

/**
 * Descriptions and examples by the name of a parameter or member. A schema’s own `description()` and `example()` come
 * first. A new route whose names are not here, and which does not describe them, fails test/docs/openapi.test.ts.
 */
export const vocabulary: Readonly<Record<string, Word>> = {
  // Users and logins
  userId: id('id of a user', USER),
  actor: id('user who did it', USER),
  actorName: { description: 'name of the user who did it', example: 'operator' },
  subjectName: { description: 'name of what it was done to', example: 'ada' },
  resolvedBy: id('user who resolved it', USER),
  username: { description: 'user name, as players see it', example: 'ada' },
  email: { description: 'e-mail address', example: 'ada@example.org' },
  password: { description: '8 to 200 characters', example: 'correct horse battery' },
  current: { description: 'the present value', example: 150, otherExamples: ['correct horse battery'] },
  new: { example: 'a longer pass phrase' },
  avatarUrl: { description: 'address of a picture', example: 'https://images.example.org/ada.png' },
  role: { example: 'player' },
  banReason: { example: 'Scores that cannot be played' },
  accessToken: {
    description: 'sent as `Authorization: Bearer <token>`',
    example: 'eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIwMTk4MGYzYSJ9.c2lnbmF0dXJl',
  },
  refreshToken: { description: 'trades for the next tokens', example: 'Zk3vYw1qT0mB7pXc9rLs5uHd2nGe8aJf' },
  resetToken: { example: 'Zk3vYw1qT0mB7pXc9rLs5uHd2nGe8aJf' },
  token: { example: 'Zk3vYw1qT0mB7pXc9rLs5uHd2nGe8aJf' },
  signingKey: { example: '2Q6yPz8Wc1Xb4Rk7Tn0Vm5Hs9Lj3Fd' },
  expiresIn: { description: 'seconds', example: 3600 },
  sessionId: id('id of a login', '01980f3a-9a01-7c11-8f00-5d2c7b3e4a60'),
  deviceSecret: { example: 'a secret of at least 16 characters' },
  userAgent: { example: 'Mozilla/5.0' },
  ip: { description: 'IP address', example: '203.0.113.7' },
  userIds: { description: 'ids of users', example: [USER] },
  since: instant('when it began'),
  revokedAt: instant('when it was ended'),
  revokedBecause: { description: 'why it was ended', example: 'signed out' },
  bannedAt: instant('when the ban began'),
  erasedAt: instant('when the account was erased'),

  // Actions
  actionId: id('id of an action', '01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50'),
  transactionId: id('id of a ledger entry', '01980f3b-2e31-7f46-b7c5-3d0e9f8a7b60'),
  actionToken: {
    description: 'single-use token of the action',
    example: 'eyJhIjoiMDE5ODBmM2IiLCJwIjo1MH0.c2lnbmF0dXJlLW9mLXRoZS1zZXJ2ZXI',
  },
  type: { description: 'key of an action type; case-sensitive', example: 'COMPLETE_QUEST' },
  difficulty: { description: 'one of the type’s difficulties', example: 'hard' },
  metadata: { example: { difficulty: 'hard' } },
  completionMetadata: { example: { level: 3 } },
  timestamp: instant('when it was made'),
  signature: {
    description: 'hex HMAC-SHA256',
    example: '9c1185a5c5e9fc54612808977ee8f548b2258d31b8ff6c0b6d6a4f7c1e2d3b4a',
  },
  statusUrl: {
    description: 'ask it how the completion ends',
    example: '/api/v1/actions/01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50',
  },
  status: { description: 'state' },
  startedAt: instant('when it was started'),
  expiresAt: instant('until when it can be used', '2026-03-02T18:35:00.000Z'),
  completedAt: instant('when it was counted', '2026-03-02T18:31:00.000Z'),
  acceptedAt: instant('when it was accepted'),

  // Leaderboards
  key: { description: 'key of the definition; case-sensitive', example: 'game1' },
  leaderboard: { description: 'key of a leaderboard; case-sensitive', example: 'game1' },
  leaderboards: { description: 'keys of leaderboards', example: ['game1'] },
  period: { description: 'UTC; weeks are ISO weeks', example: 'weekly' },
  periods: { example: ['all', 'daily', 'weekly', 'monthly'] },
  periodStart: instant('when the period began', '2026-03-02T00:00:00.000Z'),
  periodEnd: instant('when the period ends', '2026-03-09T00:00:00.000Z'),
  title: { description: 'name for people', example: 'First game' },
  state: { description: 'state' },
  visibility: { example: 'public' },
  version: { description: 'rises whenever the top 10 changes', example: 42 },
  previousVersion: { example: 41 },
  total: { description: 'how many users have a score', example: 1250 },
  rank: { description: '1 is the best', example: 3 },
  position: { description: 'place among friends', example: 1 },
  score: { description: 'points', example: 150 },
  previous: { description: 'the value before', example: 100 },
  delta: { description: 'points added', example: 50 },
  oldRank: { example: 5 },
  newRank: { example: 3 },
  points: { description: 'points', example: 50 },
  usersAbove: { example: 2 },
  usersBelow: { example: 1247 },
  percentile: { example: 99.8 },
  limit: { description: 'entries on a page', example: 10 },
  offset: { description: 'entries to skip', example: 0 },
  cursor: {
    description: '`nextCursor` of the page before',
    example: '01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50',
    otherExamples: ['1772476200000'],
  },
  nextCursor: { description: 'asks for the next page; null on the last one', example: null },
  date: { description: 'a day, UTC', example: '2026-03-02' },
  neighbors: { description: 'entries on each side', example: 2 },
  updatedAt: instant('when it last changed'),
  createdAt: instant('when it was created', '2026-03-01T09:00:00.000Z'),
  archivedAt: instant('when it was archived', '2026-04-01T00:00:00.000Z'),
  opensAt: instant('from when it takes scores', '2026-03-01T00:00:00.000Z'),
  closesAt: instant('until when it takes scores', '2026-04-01T00:00:00.000Z'),
  closedAt: instant('when it was closed', '2026-04-01T00:00:00.000Z'),
  scoreCap: { description: 'no score rises above it', example: 1_000_000 },
  maxPointsPerUpdate: { description: 'most points of one completion', example: 100 },
  minDurationMs: { description: 'shortest time from start to completion, ms', example: 5000 },
  difficulties: { example: { easy: 0.5, hard: 2 }, otherExamples: [{ easy: 25, hard: 100 }] },
  endsAt: instant('when the period ends', '2026-03-09T00:00:00.000Z'),
  before: { description: 'the value before', example: 100 },
  after: { description: 'the value after', example: 150 },
  globalDelta: { example: 50 },
  rankPrevious: { description: 'rank before', example: 5 },
  rankCurrent: { description: 'rank after', example: 3 },
  appliedAt: instant('when it was counted'),
  gain: { example: 50 },
  averageDailyGain: { example: 21.4 },
  unlockedAt: instant('when it was reached'),

  // Operators
  id: id('id', '01980f3c-5b64-7a79-8e0f-6a3b2c1d0e90'),
  jobId: { example: 'reconcile-1772476200000' },
  reason: { description: 'why, for the audit log', example: 'Scores that cannot be played' },
  banned: { example: true },
  action: { example: 'user.ban' },
  subject: { example: USER },
  details: { example: { reason: 'Scores that cannot be played' } },
  message: { example: 'is taken' },
  warnings: { example: [] },
  error: { example: null },
  finishedAt: instant('when it ended', '2026-03-02T18:30:04.000Z'),
  at: instant('when it was done'),
  enabled: { description: 'whether it is on', example: true },
  mutedLeaderboards: { example: ['game2'] },
  clientSigned: { description: 'whether clients may sign completions of this type', example: false },
  trigger: { example: 'admin' },
  compared: { example: 5000 },
  drifted: { example: 0 },
  requested: { example: -50 },
  failure: { description: 'why it could not be applied', example: 'The user is not known' },
  reverses: id('ledger entry that this one takes back', '01980f3b-2e31-7f46-b7c5-3d0e9f8a7b60'),
  reversedBy: id('ledger entry that takes this one back', '01980f3c-6c75-7b8a-9f10-7b4c3d2e1fa0'),
  places: { example: 1250 },
  query: { description: 'part of a name, an id or an e-mail address', example: 'ada' },
  from: instant('from this instant on', '2026-03-01T00:00:00.000Z'),
  to: instant('before this instant', '2026-04-01T00:00:00.000Z'),
};
