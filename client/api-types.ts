// Made from the OpenAPI document by `npm run docs:api`; a test compares. Do not edit.

export interface paths {
  '/api/v1/auth/register': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /** Create an account */
    post: operations['register'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/auth/login': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /** Sign in */
    post: operations['login'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/auth/refresh': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Refresh the tokens of a login
     * @description Each refresh token works once. For ten seconds it gives the same successor again; after that, using it a second time ends its login.
     */
    post: operations['refresh'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/auth/logout': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * End a login
     * @description Ends the refresh tokens and the signing key of the login. Access tokens live to their expiry.
     */
    post: operations['logout'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/auth/sessions': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** List my logins */
    get: operations['listSessions'];
    put?: never;
    post?: never;
    /**
     * End all my other logins
     * @description Their refresh tokens and signing keys end at once, their access tokens within the hour. A change of password ends those at once, too.
     */
    delete: operations['endOtherSessions'];
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/auth/sessions/{sessionId}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    post?: never;
    /**
     * End one of my logins
     * @description Its refresh tokens and signing key end at once, its access tokens within the hour.
     */
    delete: operations['endSession'];
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/auth/password': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Change my password
     * @description Ends every login, access tokens included, and answers with a new one for the caller.
     */
    post: operations['changePassword'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/auth/password/reset': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Choose a new password with a reset token
     * @description The token comes from an administrator, is good for an hour, and works once. Every login of the user ends.
     */
    post: operations['resetPassword'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/users/{userId}/password-reset': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Make a reset token for a user
     * @description Hand it to the user: with it the user chooses a new password, once, within an hour. It replaces an earlier one, also when the request is repeated. The token is shown here only.
     */
    post: operations['issuePasswordReset'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/action-types': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * List what can be played
     * @description With prices. A leaderboard may pay less: an award is clipped at its points an update, and starting an action tells what it is worth there.
     */
    get: operations['listActionTypes'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/actions': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** List my actions, newest first */
    get: operations['listActions'];
    put?: never;
    /**
     * Start an action
     * @description The server fixes what it is worth, and signs a single-use token for completing it.
     */
    post: operations['startAction'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/actions/{actionId}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Get one of my actions */
    get: operations['getAction'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/actions/{actionId}/complete': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Complete an action
     * @description Counts exactly once. A replay is answered 409 with the first result. `Prefer: wait=<seconds>` or `respond-async` set how long to wait before 202.
     */
    post: operations['completeAction'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/actions/{actionId}/cancel': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /** Cancel an action */
    post: operations['cancelAction'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/completions': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Complete an action, signed by the client
     * @description For games that cannot call home first, and action types for which an administrator allows it (`clientSigned`). At least `minDurationMs` lie between two of a type. `signature` is the hex HMAC-SHA256, with the login’s `signingKey` as UTF-8 text, of actionId.type.leaderboard.timestamp joined by full stops.
     */
    post: operations['completeSigned'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/leaderboards': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** List leaderboards */
    get: operations['listLeaderboards'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/leaderboards/{key}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Get a page of a leaderboard
     * @description In rank order: score descending, then who reached it first, then user id.
     */
    get: operations['getLeaderboard'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/leaderboards/{key}/users/{userId}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Get the standing of a user
     * @description `me` is the caller. Without a score: `score` 0, `rank` and `percentile` null. `percentile` is the share of the others who stand below.
     */
    get: operations['getStanding'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/leaderboards/{key}/friends': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Get the leaderboard of my friends and me
     * @description `rank` is the rank on the whole board, `position` the place among friends.
     */
    get: operations['getFriendsLeaderboard'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/leaderboards/{key}/ranks': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /** Get the ranks of many users */
    post: operations['getRanks'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/features': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** List switches */
    get: operations['listFeatures'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/features/{key}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Get a switch */
    get: operations['getFeature'];
    /**
     * Set a switch
     * @description `broadcast` {enabled, mutedLeaderboards}: updates of boards, for all or all but some. `submissions` {enabled}: off is read-only mode, in which starting and completing actions answers 503. Acts within a second.
     */
    put: operations['setFeature'];
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/users/me': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Current user */
    get: operations['getMe'];
    put?: never;
    post?: never;
    /**
     * Erase my personal data
     * @description For good: name, e-mail address, picture, friends and logins go; sums and archived standings stay under an anonymous name. Needs the password, or a login of the last 15 minutes.
     */
    delete: operations['eraseMe'];
    options?: never;
    head?: never;
    /** Change my profile */
    patch: operations['updateMe'];
    trace?: never;
  };
  '/api/v1/users/me/export': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Export my data */
    get: operations['exportMe'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/users/me/friends': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** List my friends */
    get: operations['listFriends'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/users/me/friends/{userId}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    /**
     * Add a friend
     * @description One-way and at once; once more changes nothing.
     */
    put: operations['addFriend'];
    post?: never;
    /**
     * Remove a friend
     * @description One-way and at once; once more changes nothing.
     */
    delete: operations['removeFriend'];
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/users/{userId}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Get a user */
    get: operations['getUser'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/users/{userId}/history': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Score history of a user, day by day
     * @description `score` is the running total at the end of that UTC day, `gain` that day’s gain; `trend` is that of the window’s total gain.
     */
    get: operations['getHistory'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/users/{userId}/achievements': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** List achievements of a user */
    get: operations['getAchievements'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/leaderboards': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** List leaderboards, archived ones included */
    get: operations['listLeaderboardDefinitions'];
    put?: never;
    /** Create a leaderboard */
    post: operations['createLeaderboard'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/leaderboards/{key}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    post?: never;
    /**
     * Archive a leaderboard
     * @description It takes no new actions and is listed no more. Nothing is deleted.
     */
    delete: operations['archiveLeaderboard'];
    options?: never;
    head?: never;
    /**
     * Change a leaderboard
     * @description Holds for actions that start afterwards. Changing an archived one brings it back.
     */
    patch: operations['updateLeaderboard'];
    trace?: never;
  };
  '/api/v1/admin/action-types': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** List action types, archived ones included */
    get: operations['listActionTypeDefinitions'];
    put?: never;
    /** Create an action type */
    post: operations['createActionType'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/action-types/{key}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    post?: never;
    /**
     * Archive an action type
     * @description It takes no new actions and is listed no more. Nothing is deleted.
     */
    delete: operations['archiveActionType'];
    options?: never;
    head?: never;
    /**
     * Change an action type
     * @description Holds for actions that start afterwards. Changing an archived one brings it back.
     */
    patch: operations['updateActionType'];
    trace?: never;
  };
  '/api/v1/admin/users/{userId}/ban': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Ban a user
     * @description At once and everywhere: requests are refused, sockets are closed, and the user is on no board. You cannot ban yourself, nor the last administrator.
     */
    post: operations['banUser'];
    /**
     * Lift a ban
     * @description The user returns to the boards with the scores earned before.
     */
    delete: operations['unbanUser'];
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/users/{userId}/adjustments': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Adjust a score
     * @description A ledger entry of its own. The score stays between 0 and the leaderboard’s cap, and `delta` says what it really changed by; global follows. More than the cap at once is refused.
     */
    post: operations['adjustScore'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/transactions/{transactionId}/rollback': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Roll back a ledger entry
     * @description By an entry that compensates it. Taking it back a second time changes nothing and returns the first.
     */
    post: operations['rollBackTransaction'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/users': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Find users
     * @description `query` is part of a name or of an e-mail address, a user id, or the IP address of an action of the last 7 days.
     */
    get: operations['findUsers'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/users/{userId}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Read what is known of a user */
    get: operations['getUserAsAdministrator'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/users/{userId}/ledger': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** List a user’s ledger entries, newest first */
    get: operations['listUserLedger'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/transactions/{transactionId}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Read a ledger entry, or a correction that waits */
    get: operations['getTransaction'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/audit-log': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** List the audit log, newest first */
    get: operations['readAuditLog'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/reconciliations': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** List reconciliations, newest first */
    get: operations['listReconciliations'];
    put?: never;
    /**
     * Start a reconciliation
     * @description Every board, every user; what differs is repaired. While one waits, asking again changes nothing.
     */
    post: operations['reconcile'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/leaderboards/{key}/close': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * End a leaderboard’s present period now
     * @description What is accepted from now on does not count in it; its standings are frozen as soon as what was accepted before is applied. Closing `all` ends the leaderboard itself, until its `closesAt` is set to null or put off. Closing a period that is closed changes nothing.
     */
    post: operations['closeSeason'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/dead-completions': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * List completions that were set aside
     * @description Those that no worker could apply, newest first, with the reason.
     */
    get: operations['listDeadCompletions'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/admin/dead-completions/{actionId}/retry': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /** Have a completion that was set aside tried again */
    post: operations['retryDeadCompletion'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/leaderboards/{key}/stream': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Follow a leaderboard
     * @description Server-sent events. First `leaderboard:snapshot` (LeaderboardSnapshot), then `leaderboard:update` (LeaderboardUpdate) whenever the top 10 changes; the id of each is the version of the board. Reconnect with `Last-Event-ID`. Served by the live tier.
     */
    get: operations['streamLeaderboard'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
}
export type webhooks = Record<string, never>;
export interface components {
  schemas: {
    RegisterRequest: {
      /** @description 3 to 50 characters (2 in Chinese, Japanese and Korean): letters and digits of any script, `_ - .`, apostrophes inside, and single inner spaces; unique without regard to case */
      username: string;
      /**
       * Format: email
       * @description e-mail address
       */
      email: string;
      /** @description 8 to 200 characters */
      password: string;
    };
    User: {
      /** @description UUIDv7, or the subject of an outside identity service */
      userId: string;
      /** @description user name, as players see it */
      username: string;
      /** @description address of a picture */
      avatarUrl: string | null;
      /** @enum {string} */
      role: 'player' | 'admin';
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      createdAt: string;
    };
    RegisterResponse: {
      user: components['schemas']['User'];
    };
    LoginRequest: {
      /** @description user name, as players see it */
      username: string;
      /** @description 8 to 200 characters */
      password: string;
    };
    Login: {
      /** @description sent as `Authorization: Bearer <token>` */
      accessToken: string;
      /** @enum {string} */
      tokenType: 'Bearer';
      /** @description seconds */
      expiresIn: number;
      /** @description trades for the next tokens */
      refreshToken: string;
      /** @description signs completions sent to /completions */
      signingKey: string;
      user: components['schemas']['User'];
    };
    RefreshRequest: {
      /** @description trades for the next tokens */
      refreshToken: string;
    };
    LogoutRequest: {
      /** @description trades for the next tokens */
      refreshToken: string;
    };
    Session: {
      /** @description id */
      id: string;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      createdAt: string;
      /**
       * Format: date-time
       * @description its last refresh
       */
      lastUsedAt: string;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      expiresAt: string;
      userAgent: string | null;
      /** @description whether the token of this request belongs to it */
      current: boolean;
    };
    Sessions: {
      sessions: components['schemas']['Session'][];
    };
    ChangePasswordRequest: {
      /**
       * @description the password until now
       * @example correct horse battery
       */
      current: string;
      /** @description 8 to 200 characters */
      new: string;
    };
    ResetPasswordRequest: {
      token: string;
      /** @description 8 to 200 characters */
      password: string;
    };
    PasswordReset: {
      /** @description UUIDv7, or the subject of an outside identity service */
      userId: string;
      token: string;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      expiresAt: string;
    };
    ActionType: {
      /** @description key of the definition; case-sensitive */
      key: string;
      /** @description name for people */
      title: string;
      /** @description points */
      points: number;
      /** @description difficulty -> points */
      difficulties: {
        [key: string]: number;
      };
      /** @description shortest time from start to completion, ms */
      minDurationMs: number;
      /** @description where it may be played; null = on every leaderboard */
      leaderboards: string[] | null;
      /** @description whether games may complete it by their own signature */
      clientSigned: boolean;
    };
    ListActionTypesResponse: {
      actionTypes: components['schemas']['ActionType'][];
    };
    StartActionRequest: {
      /** @description key of an action type; case-sensitive */
      type: string;
      /**
       * @description a leaderboard’s key; case-sensitive
       * @default global
       */
      leaderboard?: string;
      /** @description free for the game’s use, at most 1 KB as JSON; `difficulty` picks the type’s multiplier */
      metadata?: {
        [key: string]: unknown;
      };
    };
    StartedAction: {
      /** @description id of an action */
      actionId: string;
      /** @description key of an action type; case-sensitive */
      type: string;
      /** @description a leaderboard’s key; case-sensitive */
      leaderboard: string;
      /**
       * @description state
       * @enum {string}
       */
      status: 'started';
      /** @description points */
      points: number;
      /** @description single-use token of the action */
      actionToken: string;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      startedAt: string;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      expiresAt: string;
    };
    CompletionResult: {
      /** @description id of an action */
      actionId: string;
      /**
       * @description state
       * @enum {string}
       */
      status: 'completed';
      /** @description a leaderboard’s key; case-sensitive */
      leaderboard: string;
      /** @description UUIDv7, or the subject of an outside identity service */
      userId: string;
      /** @description points */
      score: {
        /** @description the value before */
        previous: number;
        /** @description the present value */
        current: number;
        /** @description points added */
        delta: number;
      };
      /** @description 1 is the best */
      rank: {
        /** @description the value before */
        previous: number | null;
        /** @description the present value */
        current: number | null;
      };
      /** @description id of a ledger entry */
      transactionId: string;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      completedAt: string;
    };
    Action: {
      /** @description id of an action */
      actionId: string;
      /** @description key of an action type; case-sensitive */
      type: string;
      /** @description a leaderboard’s key; case-sensitive */
      leaderboard: string;
      /**
       * @description state
       * @enum {string}
       */
      status: 'started' | 'queued' | 'completed' | 'cancelled' | 'expired' | 'held' | 'rejected';
      /** @description points */
      points: number;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      startedAt: string;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      expiresAt: string;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      completedAt: string | null;
      result: components['schemas']['CompletionResult'] | null;
      /** @description what was sent at the start */
      metadata: {
        [key: string]: unknown;
      } | null;
      /** @description what was sent with the completion */
      completionMetadata: {
        [key: string]: unknown;
      } | null;
    };
    ListActionsResponse: {
      actions: components['schemas']['Action'][];
      /** @description asks for the next page; null on the last one */
      nextCursor: string | null;
    };
    CompleteActionRequest: {
      /** @description single-use token of the action */
      actionToken: string;
      /** @description free for the game’s use, at most 1 KB as JSON; `difficulty` picks the type’s multiplier */
      metadata?: {
        [key: string]: unknown;
      };
    };
    QueuedCompletion: {
      /** @description id of an action */
      actionId: string;
      /**
       * @description state
       * @enum {string}
       */
      status: 'queued';
      /** @description ask it how the completion ends */
      statusUrl: string;
    };
    CompleteSignedRequest: {
      /** @description id of an action */
      actionId: string;
      /** @description key of an action type; case-sensitive */
      type: string;
      /** @description a leaderboard’s key; case-sensitive */
      leaderboard?: string;
      /**
       * Format: date-time
       * @description when it was made
       */
      timestamp: string;
      /** @description hex HMAC-SHA256 */
      signature: string;
    };
    ListLeaderboardsResponse: {
      /** @description keys of leaderboards */
      leaderboards: {
        /** @description a leaderboard’s key; case-sensitive */
        key: string;
        /** @description name for people */
        title: string;
        periods: ('all' | 'daily' | 'weekly' | 'monthly')[];
        /** @description no score rises above it */
        scoreCap: number;
        /** @description most points of one completion */
        maxPointsPerUpdate: number;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        opensAt: string | null;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        closesAt: string | null;
      }[];
    };
    Entry: {
      /** @description 1 is the best */
      rank: number;
      /** @description UUIDv7, or the subject of an outside identity service */
      userId: string;
      /** @description user name, as players see it */
      username: string;
      /** @description address of a picture */
      avatarUrl: string | null;
      /** @description points */
      score: number;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      updatedAt: string;
    };
    Leaderboard: {
      /** @description a leaderboard’s key; case-sensitive */
      leaderboard: string;
      /**
       * @description UTC; weeks are ISO weeks
       * @enum {string}
       */
      period: 'all' | 'daily' | 'weekly' | 'monthly';
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      periodStart: string | null;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      periodEnd: string | null;
      /** @description rises whenever the top 10 changes */
      version: number;
      /** @description how many users have a score */
      total: number;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      updatedAt: string | null;
      /**
       * @description open, closing (being frozen), closed (by an operator), archived (frozen)
       * @example open
       * @enum {string}
       */
      state: 'open' | 'closing' | 'closed' | 'archived';
      /**
       * Format: date-time
       * @description from when on nothing counts; null while it is open
       */
      closedAt: string | null;
      /**
       * Format: date-time
       * @description when the frozen standings were last corrected
       */
      correctedAt: string | null;
      entries: components['schemas']['Entry'][];
      /** @description asks for the page behind the last entry */
      nextCursor: string | null;
    };
    Standing: {
      /** @description UUIDv7, or the subject of an outside identity service */
      userId: string;
      /** @description user name, as players see it */
      username: string;
      /** @description points */
      score: number;
      /** @description 1 is the best */
      rank: number | null;
      usersAbove: number | null;
      usersBelow: number | null;
      /** @description how many users have a score */
      total: number;
      percentile: number | null;
      /** @description entries on each side */
      neighbors: components['schemas']['Entry'][];
    };
    FriendsEntry: {
      /** @description 1 is the best */
      rank: number;
      /** @description UUIDv7, or the subject of an outside identity service */
      userId: string;
      /** @description user name, as players see it */
      username: string;
      /** @description address of a picture */
      avatarUrl: string | null;
      /** @description points */
      score: number;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      updatedAt: string;
      /** @description the place among friends */
      position: number;
    };
    FriendsLeaderboard: {
      /** @description a leaderboard’s key; case-sensitive */
      leaderboard: string;
      /**
       * @description UTC; weeks are ISO weeks
       * @enum {string}
       */
      period: 'all' | 'daily' | 'weekly' | 'monthly';
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      periodStart: string | null;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      periodEnd: string | null;
      /** @description rises whenever the top 10 changes */
      version: number;
      /** @description how many of the friends are on the board, the caller included */
      total: number;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      updatedAt: string | null;
      /**
       * @description open, closing (being frozen), closed (by an operator), archived (frozen)
       * @example open
       * @enum {string}
       */
      state: 'open' | 'closing' | 'closed' | 'archived';
      /**
       * Format: date-time
       * @description from when on nothing counts; null while it is open
       */
      closedAt: string | null;
      /**
       * Format: date-time
       * @description when the frozen standings were last corrected
       */
      correctedAt: string | null;
      entries: components['schemas']['FriendsEntry'][];
    };
    GetRanksRequest: {
      /** @description ids of users */
      userIds: string[];
    };
    GetRanksResponse: {
      /** @description a leaderboard’s key; case-sensitive */
      leaderboard: string;
      /**
       * @description UTC; weeks are ISO weeks
       * @enum {string}
       */
      period: 'all' | 'daily' | 'weekly' | 'monthly';
      ranks: {
        /** @description UUIDv7, or the subject of an outside identity service */
        userId: string;
        /** @description user name, as players see it */
        username: string;
        /** @description points */
        score: number;
        /** @description 1 is the best */
        rank: number | null;
      }[];
    };
    ListFeaturesResponse: {
      features: {
        broadcast: {
          /** @description whether it is on */
          enabled: boolean;
          /** @description `broadcast` only: boards that stay silent */
          mutedLeaderboards?: string[];
        };
        submissions: {
          /** @description whether it is on */
          enabled: boolean;
          /** @description `broadcast` only: boards that stay silent */
          mutedLeaderboards?: string[];
        };
      };
    };
    GetFeatureResponse: {
      /** @description whether it is on */
      enabled: boolean;
      /** @description `broadcast` only: boards that stay silent */
      mutedLeaderboards?: string[];
    };
    SetFeatureRequest: {
      /** @description whether it is on */
      enabled?: boolean;
      mutedLeaderboards?: unknown[];
    };
    SetFeatureResponse: {
      /** @description whether it is on */
      enabled: boolean;
      /** @description `broadcast` only: boards that stay silent */
      mutedLeaderboards?: string[];
    };
    Me: {
      /** @description UUIDv7, or the subject of an outside identity service */
      userId: string;
      /** @description user name, as players see it */
      username: string;
      /** @description address of a picture */
      avatarUrl: string | null;
      /** @enum {string} */
      role: 'player' | 'admin';
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      createdAt: string;
      /** @description e-mail address */
      email: string | null;
      allowSpectators: boolean;
    };
    UpdateMeRequest: {
      /** @description 3 to 50 characters (2 in Chinese, Japanese and Korean): letters and digits of any script, `_ - .`, apostrophes inside, and single inner spaces; unique without regard to case */
      username?: string;
      /**
       * Format: uri
       * @description https only
       */
      avatarUrl?: string | null;
      allowSpectators?: boolean;
    };
    EraseMeRequest: {
      /** @description 8 to 200 characters */
      password?: string;
    };
    Export: {
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      exportedAt: string;
      user: {
        /** @description UUIDv7, or the subject of an outside identity service */
        userId: string;
        /** @description `sub` of an outside identity service, where it is not the id */
        subject: string | null;
        /** @description user name, as players see it */
        username: string;
        /** @description e-mail address */
        email: string | null;
        /** @enum {string} */
        role: 'player' | 'admin';
        /** @description address of a picture */
        avatarUrl: string | null;
        allowSpectators: boolean;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        bannedAt: string | null;
        banReason: string | null;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        erasedAt: string | null;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        createdAt: string;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        updatedAt: string;
      };
      sessions: {
        /** @description id of a login */
        sessionId: string;
        /** @description UUIDv7, or the subject of an outside identity service */
        userId: string;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        createdAt: string;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        revokedAt: string | null;
        /** @description why it was ended */
        revokedBecause: string | null;
        userAgent: string | null;
      }[];
      scores: {
        /** @description a leaderboard’s key; case-sensitive */
        leaderboard: string;
        /**
         * @description UTC; weeks are ISO weeks
         * @enum {string}
         */
        period: 'all' | 'daily' | 'weekly' | 'monthly';
        /**
         * Format: date-time
         * @description when the period began
         */
        startsAt: string;
        /** @description points */
        score: number;
        /**
         * Format: date-time
         * @description when this score was reached
         */
        reachedAt: string;
      }[];
      standings: {
        /** @description a leaderboard’s key; case-sensitive */
        leaderboard: string;
        /**
         * @description UTC; weeks are ISO weeks
         * @enum {string}
         */
        period: 'all' | 'daily' | 'weekly' | 'monthly';
        /**
         * Format: date-time
         * @description when the period began
         */
        startsAt: string;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        endsAt: string | null;
        /** @description 1 is the best */
        rank: number;
        /** @description points */
        score: number;
        /**
         * Format: date-time
         * @description when this score was reached
         */
        reachedAt: string;
      }[];
      achievements: {
        /** @description which achievement */
        key: string;
        /** @description id of an action */
        actionId: string | null;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        unlockedAt: string;
      }[];
      friends: {
        /** @description UUIDv7, or the subject of an outside identity service */
        userId: string;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        since: string;
      }[];
      queuedCompletions: {
        /** @description id of an action */
        actionId: string;
        /** @description the job that waits */
        payload: {
          [key: string]: unknown;
        };
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        acceptedAt: string;
      }[];
      auditLog: {
        /** @description id */
        id: string;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        at: string;
        action: string;
        details: {
          [key: string]: unknown;
        };
      }[];
      ledger: {
        /** @description id of a ledger entry */
        transactionId: string;
        /** @enum {string} */
        kind: 'completion' | 'adjustment' | 'rollback';
        /** @description id of an action */
        actionId: string | null;
        /** @description a leaderboard’s key; case-sensitive */
        leaderboard: string;
        /** @description key of an action type; case-sensitive */
        type: string | null;
        /** @description points */
        points: number;
        /** @description points added */
        delta: number;
        /** @description all-time score before */
        before: number;
        /** @description all-time score after */
        after: number;
        /** @description points added on the global leaderboard */
        globalDelta: number;
        /** @description rank before */
        rankPrevious: number | null;
        /** @description rank after */
        rankCurrent: number | null;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        acceptedAt: string;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        appliedAt: string;
        /** @description ledger entry that this one takes back */
        reverses: string | null;
        /** @description why, for the audit log */
        reason: string | null;
      }[];
      actions: {
        /** @description id of an action */
        actionId: string;
        /** @description UUIDv7, or the subject of an outside identity service */
        userId: string;
        /** @description key of an action type; case-sensitive */
        type: string;
        /** @description a leaderboard’s key; case-sensitive */
        leaderboard: string;
        /** @description points */
        points: number;
        /** @description one of the type’s difficulties */
        difficulty: string | null;
        /**
         * @description state
         * @enum {string}
         */
        status: 'started' | 'queued' | 'completed' | 'cancelled' | 'expired' | 'held' | 'rejected';
        /**
         * @description who fixed its terms
         * @enum {string}
         */
        source: 'server' | 'client';
        metadata: {
          [key: string]: unknown;
        } | null;
        completionMetadata: {
          [key: string]: unknown;
        } | null;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        startedAt: string;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        expiresAt: string;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        acceptedAt: string | null;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        completedAt: string | null;
        /** @description IP address */
        ip: string | null;
        userAgent: string | null;
      }[];
    };
    ListFriendsResponse: {
      friends: {
        /** @description UUIDv7, or the subject of an outside identity service */
        userId: string;
        /** @description user name, as players see it */
        username: string;
        /** @description address of a picture */
        avatarUrl: string | null;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        since: string;
      }[];
    };
    History: {
      /** @description points */
      points: {
        /** @description a day, UTC */
        date: string;
        /** @description points */
        score: number;
        gain: number;
      }[];
      /** @enum {string} */
      trend: 'increasing' | 'decreasing' | 'flat';
      averageDailyGain: number;
    };
    GetAchievementsResponse: {
      achievements: {
        /** @description key of the definition; case-sensitive */
        key: string;
        /** @description name for people */
        title: string;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        unlockedAt: string;
      }[];
    };
    LeaderboardDefinition: {
      /** @description key of the definition; case-sensitive */
      key: string;
      /** @description name for people */
      title: string;
      /** @description no score rises above it */
      scoreCap: number;
      /** @description most points of one completion */
      maxPointsPerUpdate: number;
      /** @description must contain all */
      periods: ('all' | 'daily' | 'weekly' | 'monthly')[];
      /** @enum {string} */
      visibility: 'public' | 'private';
      /**
       * Format: date-time
       * @description from when it takes scores
       */
      opensAt: string | null;
      /**
       * Format: date-time
       * @description until when it takes scores
       */
      closesAt: string | null;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      archivedAt: string | null;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      createdAt: string;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      updatedAt: string;
    };
    ListLeaderboardDefinitionsResponse: {
      items: components['schemas']['LeaderboardDefinition'][];
    };
    CreateLeaderboardRequest: {
      /** @description key of the definition; case-sensitive */
      key: string;
      /** @description name for people */
      title: string;
      /** @description no score rises above it */
      scoreCap?: number;
      /** @description most points of one completion */
      maxPointsPerUpdate?: number;
      /** @description must contain all */
      periods?: ('all' | 'daily' | 'weekly' | 'monthly')[];
      /** @enum {string} */
      visibility?: 'public' | 'private';
      /**
       * Format: date-time
       * @description from when it takes scores
       */
      opensAt?: string | null;
      /**
       * Format: date-time
       * @description until when it takes scores
       */
      closesAt?: string | null;
    };
    ChangedLeaderboard: {
      /** @description key of the definition; case-sensitive */
      key: string;
      /** @description name for people */
      title: string;
      /** @description no score rises above it */
      scoreCap: number;
      /** @description most points of one completion */
      maxPointsPerUpdate: number;
      /** @description must contain all */
      periods: ('all' | 'daily' | 'weekly' | 'monthly')[];
      /** @enum {string} */
      visibility: 'public' | 'private';
      /**
       * Format: date-time
       * @description from when it takes scores
       */
      opensAt: string | null;
      /**
       * Format: date-time
       * @description until when it takes scores
       */
      closesAt: string | null;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      archivedAt: string | null;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      createdAt: string;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      updatedAt: string;
      /** @description prices that a leaderboard does not pay in full */
      warnings: string[];
    };
    UpdateLeaderboardRequest: {
      /** @description name for people */
      title?: string;
      /** @description no score rises above it */
      scoreCap?: number;
      /** @description most points of one completion */
      maxPointsPerUpdate?: number;
      /** @description must contain all */
      periods?: ('all' | 'daily' | 'weekly' | 'monthly')[];
      /** @enum {string} */
      visibility?: 'public' | 'private';
      /**
       * Format: date-time
       * @description from when it takes scores
       */
      opensAt?: string | null;
      /**
       * Format: date-time
       * @description until when it takes scores
       */
      closesAt?: string | null;
    };
    ActionTypeDefinition: {
      /** @description key of the definition; case-sensitive */
      key: string;
      /** @description name for people */
      title: string;
      /** @description points */
      points: number;
      /** @description difficulty -> multiplier of the points */
      difficulties: {
        [key: string]: number;
      };
      /** @description where it may be played; null = everywhere */
      leaderboards: string[] | null;
      /** @description whether games may complete it by their own signature */
      clientSigned: boolean;
      /** @description shortest time from start to completion, ms */
      minDurationMs: number;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      archivedAt: string | null;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      createdAt: string;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      updatedAt: string;
    };
    ListActionTypeDefinitionsResponse: {
      items: components['schemas']['ActionTypeDefinition'][];
    };
    CreateActionTypeRequest: {
      /** @description key of the definition; case-sensitive */
      key: string;
      /** @description name for people */
      title: string;
      /** @description points */
      points: number;
      /** @description difficulty -> multiplier of the points */
      difficulties?: {
        [key: string]: number;
      };
      /** @description where it may be played; null = everywhere */
      leaderboards?: string[] | null;
      /** @description whether games may complete it by their own signature */
      clientSigned?: boolean;
      /** @description shortest time from start to completion, ms */
      minDurationMs?: number;
    };
    ChangedActionType: {
      /** @description key of the definition; case-sensitive */
      key: string;
      /** @description name for people */
      title: string;
      /** @description points */
      points: number;
      /** @description difficulty -> multiplier of the points */
      difficulties: {
        [key: string]: number;
      };
      /** @description where it may be played; null = everywhere */
      leaderboards: string[] | null;
      /** @description whether games may complete it by their own signature */
      clientSigned: boolean;
      /** @description shortest time from start to completion, ms */
      minDurationMs: number;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      archivedAt: string | null;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      createdAt: string;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      updatedAt: string;
      /** @description prices that a leaderboard does not pay in full */
      warnings: string[];
    };
    UpdateActionTypeRequest: {
      /** @description name for people */
      title?: string;
      /** @description points */
      points?: number;
      /** @description difficulty -> multiplier of the points */
      difficulties?: {
        [key: string]: number;
      };
      /** @description where it may be played; null = everywhere */
      leaderboards?: string[] | null;
      /** @description whether games may complete it by their own signature */
      clientSigned?: boolean;
      /** @description shortest time from start to completion, ms */
      minDurationMs?: number;
    };
    BanUserRequest: {
      /** @description why, for the audit log */
      reason: string;
    };
    Ban: {
      /** @description UUIDv7, or the subject of an outside identity service */
      userId: string;
      banned: boolean;
      /** @description why, for the audit log */
      reason: string | null;
    };
    AdjustScoreRequest: {
      /** @description a leaderboard’s key; case-sensitive */
      leaderboard: string;
      /** @description points added */
      delta: number;
      /** @description why, for the audit log */
      reason: string;
    };
    Correction: {
      /** @description id of a ledger entry */
      transactionId: string;
      /** @description UUIDv7, or the subject of an outside identity service */
      userId: string;
      /** @description a leaderboard’s key; case-sensitive */
      leaderboard: string;
      /** @description of an adjustment: what was asked for */
      requested?: number;
      /** @description of an adjustment: what the score really changed by; scores stay between 0 and the leaderboard’s cap */
      delta?: number;
      /** @description points */
      score: {
        /** @description the value before */
        previous: number;
        /** @description the present value */
        current: number;
        /** @description points added */
        delta: number;
      };
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      completedAt: string;
    };
    QueuedCorrection: {
      /** @description id of a ledger entry */
      transactionId: string;
      /**
       * @description state
       * @enum {string}
       */
      status: 'queued';
    };
    RollBackTransactionRequest: {
      /** @description why, for the audit log */
      reason: string;
    };
    AdminUser: {
      /** @description UUIDv7, or the subject of an outside identity service */
      userId: string;
      /** @description user name, as players see it */
      username: string;
      /** @description e-mail address */
      email: string | null;
      /** @enum {string} */
      role: 'player' | 'admin';
      ban: {
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        at: string;
        /** @description why, for the audit log */
        reason: string | null;
      } | null;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      erasedAt: string | null;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      createdAt: string;
    };
    FindUsersResponse: {
      users: components['schemas']['AdminUser'][];
      /** @description asks for the next page; null on the last one */
      nextCursor: string | null;
    };
    AdminUserDetails: {
      /** @description UUIDv7, or the subject of an outside identity service */
      userId: string;
      /** @description user name, as players see it */
      username: string;
      /** @description e-mail address */
      email: string | null;
      /** @enum {string} */
      role: 'player' | 'admin';
      ban: {
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        at: string;
        /** @description why, for the audit log */
        reason: string | null;
      } | null;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      erasedAt: string | null;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      createdAt: string;
      /** @description address of a picture */
      avatarUrl: string | null;
      allowSpectators: boolean;
      /** @description logins that have not ended */
      sessions: number;
      /** @description on periods that are open */
      scores: {
        /** @description a leaderboard’s key; case-sensitive */
        leaderboard: string;
        /** @description UTC; weeks are ISO weeks */
        period: string;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        periodStart: string | null;
        /** @description points */
        score: number;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        reachedAt: string;
      }[];
    };
    LedgerEntry: {
      /** @description id of a ledger entry */
      transactionId: string;
      /**
       * @description corrections wait as `queued`; `failed` ones were set aside, see `failure`
       * @enum {string}
       */
      status: 'applied' | 'queued' | 'failed';
      /** @description why it could not be applied */
      failure: string | null;
      /** @enum {string} */
      kind: 'completion' | 'adjustment' | 'rollback';
      /** @description UUIDv7, or the subject of an outside identity service */
      userId: string;
      /** @description user name, as players see it */
      username: string | null;
      /** @description key of a leaderboard; case-sensitive */
      leaderboard: string | null;
      /** @description key of an action type; case-sensitive */
      type: string | null;
      /** @description id of an action */
      actionId: string | null;
      /** @description what it was worth before limits; of a correction, what was asked for */
      points: number | null;
      /** @description what the leaderboard’s all-time score changed by */
      delta: number | null;
      /** @description the value before */
      before: number | null;
      /** @description the value after */
      after: number | null;
      globalDelta: number | null;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      acceptedAt: string;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      appliedAt: string | null;
      /** @description the entry that this one takes back */
      reverses: string | null;
      /** @description the entry that takes this one back */
      reversedBy: string | null;
      /** @description why, for the audit log */
      reason: string | null;
      /** @description user who did it */
      actor: string | null;
      /** @description name of the user who did it */
      actorName: string | null;
    };
    ListUserLedgerResponse: {
      entries: components['schemas']['LedgerEntry'][];
      /** @description asks for the next page; null on the last one */
      nextCursor: string | null;
    };
    AuditEntry: {
      /** @description id */
      id: string;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      at: string;
      /** @description user who did it */
      actor: string;
      /** @description null when it is no user, as `system` */
      actorName: string | null;
      action: string;
      subject: string | null;
      /** @description of subjects that are users */
      subjectName: string | null;
      details: {
        [key: string]: unknown;
      };
    };
    ReadAuditLogResponse: {
      entries: components['schemas']['AuditEntry'][];
      /** @description asks for the next page; null on the last one */
      nextCursor: string | null;
    };
    ReconcileResponse: {
      jobId: string;
    };
    ListReconciliationsResponse: {
      reconciliations: {
        /** @description id */
        id: string;
        /** @description as the answer of POST named it */
        jobId: string | null;
        /** @enum {string} */
        trigger: 'schedule' | 'cli' | 'admin' | 'restart';
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        startedAt: string;
        /**
         * Format: date-time
         * @description ISO 8601, UTC, milliseconds
         */
        finishedAt: string | null;
        compared: number;
        drifted: number;
        error: string | null;
      }[];
    };
    CloseSeasonRequest: {
      /**
       * @description UTC; weeks are ISO weeks
       * @default all
       * @enum {string}
       */
      period: 'all' | 'daily' | 'weekly' | 'monthly';
      /** @description why, for the audit log */
      reason?: string;
    };
    CloseSeasonResponse: {
      /** @description a leaderboard’s key; case-sensitive */
      leaderboard: string;
      /**
       * @description UTC; weeks are ISO weeks
       * @enum {string}
       */
      period: 'all' | 'daily' | 'weekly' | 'monthly';
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      closedAt: string;
      /** @description how many places were frozen; null while what was accepted before is still being applied */
      places: number | null;
    };
    DeadCompletion: {
      /** @description id of an action */
      actionId: string;
      /** @description UUIDv7, or the subject of an outside identity service */
      userId: string;
      /** @description user name, as players see it */
      username: string | null;
      /** @description why, for the audit log */
      reason: string;
      /** @description whether the API had accepted it; false for a job that only stood in Redis */
      accepted: boolean;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      acceptedAt: string;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      deadAt: string;
    };
    ListDeadCompletionsResponse: {
      completions: components['schemas']['DeadCompletion'][];
      /** @description asks for the next page; null on the last one */
      nextCursor: string | null;
    };
    RetryDeadCompletionResponse: {
      /** @description id of an action */
      actionId: string;
      /**
       * @description state
       * @enum {string}
       */
      status: 'queued';
    };
    /** @description the board as it stands */
    LeaderboardSnapshot: {
      /** @description a leaderboard’s key; case-sensitive */
      leaderboard: string;
      /**
       * @description UTC; weeks are ISO weeks
       * @enum {string}
       */
      period: 'all' | 'daily' | 'weekly' | 'monthly';
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      periodStart: string | null;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      periodEnd: string | null;
      /** @description rises whenever the top 10 changes */
      version: number;
      /** @description how many users have a score */
      total: number;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      updatedAt: string | null;
      /**
       * @description open, closing (being frozen), closed (by an operator), archived (frozen)
       * @example open
       * @enum {string}
       */
      state: 'open' | 'closing' | 'closed' | 'archived';
      /**
       * Format: date-time
       * @description from when on nothing counts; null while it is open
       */
      closedAt: string | null;
      /**
       * Format: date-time
       * @description when the frozen standings were last corrected
       */
      correctedAt: string | null;
      /** @description the top 10 */
      entries: components['schemas']['Entry'][];
    };
    /** @description what changed since the update before, and the top 10 as it is now */
    LeaderboardUpdate: {
      /**
       * @description key of an action type; case-sensitive
       * @enum {string}
       */
      type: 'LEADERBOARD_REFRESH';
      /** @description a leaderboard’s key; case-sensitive */
      leaderboard: string;
      /**
       * @description UTC; weeks are ISO weeks
       * @enum {string}
       */
      period: 'all' | 'daily' | 'weekly' | 'monthly';
      /** @description rises whenever the top 10 changes */
      version: number;
      /** @description version of the update before; a client that has another one missed an update, and reads anew */
      previousVersion: number;
      /**
       * Format: date-time
       * @description ISO 8601, UTC, milliseconds
       */
      timestamp: string;
      /** @description how many users have a score */
      total: number;
      /** @description one entry for each user who scored since the update before */
      changes: {
        /** @description UUIDv7, or the subject of an outside identity service */
        userId: string;
        /** @description user name, as players see it */
        username: string;
        /** @description null: was not on the board */
        oldRank: number | null;
        newRank: number;
        /** @description points */
        score: number;
        /** @description points added */
        delta: number;
      }[];
      /** @description the top 10 */
      entries: components['schemas']['Entry'][];
      /** @description names the signing key, where the installation signs updates */
      keyId?: string;
      /** @description hex HMAC-SHA256, where the installation signs updates */
      signature?: string;
    };
    /** @description RFC 9457 problem details. `code` is stable; `detail` is for people; `type` is the place of the code on a page of all codes. */
    Problem: {
      /** Format: uri-reference */
      type: string;
      title: string;
      status: number;
      detail: string;
      instance: string;
      /** @enum {string} */
      code:
        | 'INVALID_REQUEST'
        | 'UNKNOWN_ACTION_TYPE'
        | 'UNKNOWN_LEADERBOARD'
        | 'ACTION_TOKEN_MALFORMED'
        | 'UNAUTHENTICATED'
        | 'TOKEN_EXPIRED'
        | 'BAD_CREDENTIALS'
        | 'REFRESH_TOKEN_REUSED'
        | 'FORBIDDEN'
        | 'USER_BANNED'
        | 'ACTION_TOKEN_INVALID'
        | 'ACTION_TOKEN_EXPIRED'
        | 'ACTION_TOKEN_NOT_YOURS'
        | 'SIGNATURE_INVALID'
        | 'TIMESTAMP_OUT_OF_RANGE'
        | 'CLIENT_SIGNING_OFF'
        | 'VERIFICATION_REQUIRED'
        | 'NOT_FOUND'
        | 'USER_NOT_FOUND'
        | 'ACTION_NOT_FOUND'
        | 'LEADERBOARD_NOT_FOUND'
        | 'METHOD_NOT_ALLOWED'
        | 'ACTION_ALREADY_COMPLETED'
        | 'ACTION_IN_PROGRESS'
        | 'ACTION_CANCELLED'
        | 'ACTION_ID_TAKEN'
        | 'LEADERBOARD_CLOSED'
        | 'IDEMPOTENCY_KEY_REUSED'
        | 'KEY_TAKEN'
        | 'USERNAME_TAKEN'
        | 'EMAIL_TAKEN'
        | 'PAYLOAD_TOO_LARGE'
        | 'UNSUPPORTED_MEDIA_TYPE'
        | 'ACTION_TOO_FAST'
        | 'ACTION_REJECTED'
        | 'RATE_LIMITED'
        | 'TOO_MANY_OPEN_ACTIONS'
        | 'INTERNAL_ERROR'
        | 'UNAVAILABLE';
      errors?: {
        path: string;
        message: string;
      }[];
      /** @description of `ACTION_ALREADY_COMPLETED`: the first response */
      result?: components['schemas']['CompletionResult'];
    };
  };
  responses: never;
  parameters: never;
  requestBodies: never;
  headers: {
    /**
     * @description Names the request in the logs. A valid one of the request is kept.
     * @example 6f1c2b9e-4a51-4c0e-9a27-0d8f7c6b5a41
     */
    'X-Request-Id': string;
    /**
     * @description Names the request in the logs. A valid one of the request is kept.
     * @example 6f1c2b9e-4a51-4c0e-9a27-0d8f7c6b5a41
     */
    'X-Request-Id-optional': string;
    /**
     * @description Of the body; send it as `If-None-Match`.
     * @example "Zk3vYw1qT0mB7pXc"
     */
    ETag: string;
    /**
     * @description Of the body; send it as `If-None-Match`.
     * @example "Zk3vYw1qT0mB7pXc"
     */
    'ETag-optional': string;
    /**
     * @description Where the resource is.
     * @example /api/v1/actions/01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
     */
    Location: string;
    /**
     * @description Where the resource is.
     * @example /api/v1/actions/01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
     */
    'Location-optional': string;
    /**
     * @description Seconds to wait before the next request.
     * @example 2
     */
    'Retry-After': number;
    /**
     * @description Seconds to wait before the next request.
     * @example 2
     */
    'Retry-After-optional': number;
    /**
     * @description Who may keep the response, and how long.
     * @example no-store
     */
    'Cache-Control': string;
    /**
     * @description Who may keep the response, and how long.
     * @example no-store
     */
    'Cache-Control-optional': string;
    /**
     * @description What is left of the limit: `r` requests, renewed in `t` seconds.
     * @example "complete";r=9;t=60
     */
    RateLimit: string;
    /**
     * @description What is left of the limit: `r` requests, renewed in `t` seconds.
     * @example "complete";r=9;t=60
     */
    'RateLimit-optional': string;
    /**
     * @description The limit: `q` requests in a window of `w` seconds.
     * @example "complete";q=10;w=60
     */
    'RateLimit-Policy': string;
    /**
     * @description The limit: `q` requests in a window of `w` seconds.
     * @example "complete";q=10;w=60
     */
    'RateLimit-Policy-optional': string;
    /**
     * @description How to authenticate.
     * @example Bearer
     */
    'WWW-Authenticate': string;
    /**
     * @description How to authenticate.
     * @example Bearer
     */
    'WWW-Authenticate-optional': string;
    /**
     * @description The methods that are possible here.
     * @example GET, HEAD
     */
    Allow: string;
    /**
     * @description The methods that are possible here.
     * @example GET, HEAD
     */
    'Allow-optional': string;
    /**
     * @description The name of the file to save.
     * @example attachment; filename="laurel-export.json"
     */
    'Content-Disposition': string;
    /**
     * @description The name of the file to save.
     * @example attachment; filename="laurel-export.json"
     */
    'Content-Disposition-optional': string;
  };
  pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
  register: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        /**
         * @example {
         *       "username": "ada",
         *       "email": "ada@example.org",
         *       "password": "correct horse battery"
         *     }
         */
        'application/json': components['schemas']['RegisterRequest'];
      };
    };
    responses: {
      /** @description The account */
      201: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "user": {
           *         "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *         "username": "ada",
           *         "avatarUrl": "https://images.example.org/ada.png",
           *         "role": "player",
           *         "createdAt": "2026-03-01T09:00:00.000Z"
           *       }
           *     }
           */
          'application/json': components['schemas']['RegisterResponse'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USERNAME_TAKEN`: The user name is taken. `EMAIL_TAKEN`: The e-mail address is taken */
      409: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `PAYLOAD_TOO_LARGE`: The body is too large */
      413: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNSUPPORTED_MEDIA_TYPE`: The body must be JSON */
      415: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  login: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        /**
         * @example {
         *       "username": "ada",
         *       "password": "correct horse battery"
         *     }
         */
        'application/json': components['schemas']['LoginRequest'];
      };
    };
    responses: {
      /** @description Tokens, and the user */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "accessToken": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIwMTk4MGYzYSJ9.c2lnbmF0dXJl",
           *       "tokenType": "Bearer",
           *       "expiresIn": 3600,
           *       "refreshToken": "Zk3vYw1qT0mB7pXc9rLs5uHd2nGe8aJf",
           *       "signingKey": "2Q6yPz8Wc1Xb4Rk7Tn0Vm5Hs9Lj3Fd",
           *       "user": {
           *         "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *         "username": "ada",
           *         "avatarUrl": "https://images.example.org/ada.png",
           *         "role": "player",
           *         "createdAt": "2026-03-01T09:00:00.000Z"
           *       }
           *     }
           */
          'application/json': components['schemas']['Login'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `BAD_CREDENTIALS`: Wrong user name or password */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `PAYLOAD_TOO_LARGE`: The body is too large */
      413: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNSUPPORTED_MEDIA_TYPE`: The body must be JSON */
      415: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  refresh: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        /**
         * @example {
         *       "refreshToken": "Zk3vYw1qT0mB7pXc9rLs5uHd2nGe8aJf"
         *     }
         */
        'application/json': components['schemas']['RefreshRequest'];
      };
    };
    responses: {
      /** @description New tokens */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "accessToken": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIwMTk4MGYzYSJ9.c2lnbmF0dXJl",
           *       "tokenType": "Bearer",
           *       "expiresIn": 3600,
           *       "refreshToken": "Zk3vYw1qT0mB7pXc9rLs5uHd2nGe8aJf",
           *       "signingKey": "2Q6yPz8Wc1Xb4Rk7Tn0Vm5Hs9Lj3Fd",
           *       "user": {
           *         "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *         "username": "ada",
           *         "avatarUrl": "https://images.example.org/ada.png",
           *         "role": "player",
           *         "createdAt": "2026-03-01T09:00:00.000Z"
           *       }
           *     }
           */
          'application/json': components['schemas']['Login'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `REFRESH_TOKEN_REUSED`: The refresh token was used before */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `PAYLOAD_TOO_LARGE`: The body is too large */
      413: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNSUPPORTED_MEDIA_TYPE`: The body must be JSON */
      415: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  logout: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        /**
         * @example {
         *       "refreshToken": "Zk3vYw1qT0mB7pXc9rLs5uHd2nGe8aJf"
         *     }
         */
        'application/json': components['schemas']['LogoutRequest'];
      };
    };
    responses: {
      /** @description Ended */
      204: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content?: never;
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `PAYLOAD_TOO_LARGE`: The body is too large */
      413: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNSUPPORTED_MEDIA_TYPE`: The body must be JSON */
      415: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  listSessions: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Logins that have not ended, newest first */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "sessions": [
           *         {
           *           "id": "01980f3c-5b64-7a79-8e0f-6a3b2c1d0e90",
           *           "createdAt": "2026-03-01T09:00:00.000Z",
           *           "lastUsedAt": "2026-03-02T18:30:00.000Z",
           *           "expiresAt": "2026-03-02T18:35:00.000Z",
           *           "userAgent": "Mozilla/5.0",
           *           "current": true
           *         }
           *       ]
           *     }
           */
          'application/json': components['schemas']['Sessions'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  endOtherSessions: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Ended */
      204: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content?: never;
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  endSession: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /**
         * @description id of a login
         * @example 01980f3a-9a01-7c11-8f00-5d2c7b3e4a60
         */
        sessionId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Ended */
      204: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content?: never;
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user. `NOT_FOUND`: There is nothing at this address */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  changePassword: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        /**
         * @example {
         *       "current": "correct horse battery",
         *       "new": "a longer pass phrase"
         *     }
         */
        'application/json': components['schemas']['ChangePasswordRequest'];
      };
    };
    responses: {
      /** @description Tokens of the new login */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "accessToken": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIwMTk4MGYzYSJ9.c2lnbmF0dXJl",
           *       "tokenType": "Bearer",
           *       "expiresIn": 3600,
           *       "refreshToken": "Zk3vYw1qT0mB7pXc9rLs5uHd2nGe8aJf",
           *       "signingKey": "2Q6yPz8Wc1Xb4Rk7Tn0Vm5Hs9Lj3Fd",
           *       "user": {
           *         "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *         "username": "ada",
           *         "avatarUrl": "https://images.example.org/ada.png",
           *         "role": "player",
           *         "createdAt": "2026-03-01T09:00:00.000Z"
           *       }
           *     }
           */
          'application/json': components['schemas']['Login'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired. `BAD_CREDENTIALS`: Wrong user name or password */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned. `FORBIDDEN`: Not allowed */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `PAYLOAD_TOO_LARGE`: The body is too large */
      413: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNSUPPORTED_MEDIA_TYPE`: The body must be JSON */
      415: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  resetPassword: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        /**
         * @example {
         *       "token": "Zk3vYw1qT0mB7pXc9rLs5uHd2nGe8aJf",
         *       "password": "correct horse battery"
         *     }
         */
        'application/json': components['schemas']['ResetPasswordRequest'];
      };
    };
    responses: {
      /** @description Changed. Sign in with the new password. */
      204: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content?: never;
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `PAYLOAD_TOO_LARGE`: The body is too large */
      413: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNSUPPORTED_MEDIA_TYPE`: The body must be JSON */
      415: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  issuePasswordReset: {
    parameters: {
      query?: never;
      header?: {
        /**
         * @description Makes a retry safe: the same key with the same request gets the first answer again, with another request 409. Kept 30 days.
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        'Idempotency-Key'?: string;
      };
      path: {
        /**
         * @description id of a user
         * @example 01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10
         */
        userId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The token */
      201: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *       "token": "Zk3vYw1qT0mB7pXc9rLs5uHd2nGe8aJf",
           *       "expiresAt": "2026-03-02T18:35:00.000Z"
           *     }
           */
          'application/json': components['schemas']['PasswordReset'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `IDEMPOTENCY_KEY_REUSED`: The idempotency key was used for another request */
      409: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  listActionTypes: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Every action type */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "actionTypes": [
           *         {
           *           "key": "game1",
           *           "title": "First game",
           *           "points": 50,
           *           "difficulties": {
           *             "easy": 25,
           *             "hard": 100
           *           },
           *           "minDurationMs": 5000,
           *           "leaderboards": [
           *             "game1"
           *           ],
           *           "clientSigned": false
           *         }
           *       ]
           *     }
           */
          'application/json': components['schemas']['ListActionTypesResponse'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  listActions: {
    parameters: {
      query?: {
        /**
         * @description state
         * @example started
         */
        status?: 'started' | 'queued' | 'completed' | 'cancelled' | 'expired' | 'held' | 'rejected';
        /**
         * @description entries on a page
         * @example 10
         */
        limit?: number;
        /**
         * @description `nextCursor` of the page before
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        cursor?: string;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description A page of actions */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "actions": [
           *         {
           *           "actionId": "01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50",
           *           "type": "COMPLETE_QUEST",
           *           "leaderboard": "game1",
           *           "status": "started",
           *           "points": 50,
           *           "startedAt": "2026-03-02T18:30:00.000Z",
           *           "expiresAt": "2026-03-02T18:35:00.000Z",
           *           "completedAt": "2026-03-02T18:31:00.000Z",
           *           "result": {
           *             "actionId": "01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50",
           *             "status": "completed",
           *             "leaderboard": "game1",
           *             "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *             "score": {
           *               "previous": 100,
           *               "current": 150,
           *               "delta": 50
           *             },
           *             "rank": {
           *               "previous": 100,
           *               "current": 150
           *             },
           *             "transactionId": "01980f3b-2e31-7f46-b7c5-3d0e9f8a7b60",
           *             "completedAt": "2026-03-02T18:31:00.000Z"
           *           },
           *           "metadata": {
           *             "difficulty": "hard"
           *           },
           *           "completionMetadata": {
           *             "level": 3
           *           }
           *         }
           *       ],
           *       "nextCursor": null
           *     }
           */
          'application/json': components['schemas']['ListActionsResponse'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  startAction: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        /**
         * @example {
         *       "type": "COMPLETE_QUEST",
         *       "leaderboard": "game1",
         *       "metadata": {
         *         "difficulty": "hard"
         *       }
         *     }
         */
        'application/json': components['schemas']['StartActionRequest'];
      };
    };
    responses: {
      /** @description Started */
      201: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          Location: components['headers']['Location'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "actionId": "01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50",
           *       "type": "COMPLETE_QUEST",
           *       "leaderboard": "game1",
           *       "status": "started",
           *       "points": 50,
           *       "actionToken": "eyJhIjoiMDE5ODBmM2IiLCJwIjo1MH0.c2lnbmF0dXJlLW9mLXRoZS1zZXJ2ZXI",
           *       "startedAt": "2026-03-02T18:30:00.000Z",
           *       "expiresAt": "2026-03-02T18:35:00.000Z"
           *     }
           */
          'application/json': components['schemas']['StartedAction'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid. `UNKNOWN_ACTION_TYPE`: Unknown action type. `UNKNOWN_LEADERBOARD`: Unknown leaderboard */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `LEADERBOARD_CLOSED`: The leaderboard is closed */
      409: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `PAYLOAD_TOO_LARGE`: The body is too large */
      413: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNSUPPORTED_MEDIA_TYPE`: The body must be JSON */
      415: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests. `TOO_MANY_OPEN_ACTIONS`: Too many open actions */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  getAction: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /**
         * @description id of an action
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        actionId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Its status, and its result once it has one */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "actionId": "01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50",
           *       "type": "COMPLETE_QUEST",
           *       "leaderboard": "game1",
           *       "status": "started",
           *       "points": 50,
           *       "startedAt": "2026-03-02T18:30:00.000Z",
           *       "expiresAt": "2026-03-02T18:35:00.000Z",
           *       "completedAt": "2026-03-02T18:31:00.000Z",
           *       "result": {
           *         "actionId": "01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50",
           *         "status": "completed",
           *         "leaderboard": "game1",
           *         "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *         "score": {
           *           "previous": 100,
           *           "current": 150,
           *           "delta": 50
           *         },
           *         "rank": {
           *           "previous": 100,
           *           "current": 150
           *         },
           *         "transactionId": "01980f3b-2e31-7f46-b7c5-3d0e9f8a7b60",
           *         "completedAt": "2026-03-02T18:31:00.000Z"
           *       },
           *       "metadata": {
           *         "difficulty": "hard"
           *       },
           *       "completionMetadata": {
           *         "level": 3
           *       }
           *     }
           */
          'application/json': components['schemas']['Action'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user. `ACTION_NOT_FOUND`: Unknown action */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  completeAction: {
    parameters: {
      query?: never;
      header?: {
        /**
         * @description `wait=<seconds>` (up to 30) or `respond-async`: how long to wait before 202.
         * @example wait=10
         */
        Prefer?: string;
      };
      path: {
        /**
         * @description id of an action
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        actionId: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        /**
         * @example {
         *       "actionToken": "eyJhIjoiMDE5ODBmM2IiLCJwIjo1MH0.c2lnbmF0dXJlLW9mLXRoZS1zZXJ2ZXI",
         *       "metadata": {
         *         "difficulty": "hard"
         *       }
         *     }
         */
        'application/json': components['schemas']['CompleteActionRequest'];
      };
    };
    responses: {
      /** @description It counts */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "actionId": "01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50",
           *       "status": "completed",
           *       "leaderboard": "game1",
           *       "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *       "score": {
           *         "previous": 100,
           *         "current": 150,
           *         "delta": 50
           *       },
           *       "rank": {
           *         "previous": 100,
           *         "current": 150
           *       },
           *       "transactionId": "01980f3b-2e31-7f46-b7c5-3d0e9f8a7b60",
           *       "completedAt": "2026-03-02T18:31:00.000Z"
           *     }
           */
          'application/json': components['schemas']['CompletionResult'];
        };
      };
      /** @description It is accepted and will count; ask the status URL */
      202: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          Location: components['headers']['Location'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "actionId": "01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50",
           *       "status": "queued",
           *       "statusUrl": "/api/v1/actions/01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50"
           *     }
           */
          'application/json': components['schemas']['QueuedCompletion'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid. `ACTION_TOKEN_MALFORMED`: The action token is malformed. `UNKNOWN_LEADERBOARD`: Unknown leaderboard */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned. `VERIFICATION_REQUIRED`: Verification is required. `ACTION_TOKEN_INVALID`: The action token is not valid. `ACTION_TOKEN_EXPIRED`: The action token has expired. `ACTION_TOKEN_NOT_YOURS`: The action token belongs to another user */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user. `ACTION_NOT_FOUND`: Unknown action */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `ACTION_ALREADY_COMPLETED`: The action was completed before. `ACTION_IN_PROGRESS`: The action is being completed. `ACTION_CANCELLED`: The action was cancelled. `LEADERBOARD_CLOSED`: The leaderboard is closed */
      409: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `PAYLOAD_TOO_LARGE`: The body is too large */
      413: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNSUPPORTED_MEDIA_TYPE`: The body must be JSON */
      415: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `ACTION_TOO_FAST`: The action was completed too fast. `ACTION_REJECTED`: The action was rejected */
      422: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  cancelAction: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /**
         * @description id of an action
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        actionId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Cancelled, now or before */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "actionId": "01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50",
           *       "type": "COMPLETE_QUEST",
           *       "leaderboard": "game1",
           *       "status": "started",
           *       "points": 50,
           *       "startedAt": "2026-03-02T18:30:00.000Z",
           *       "expiresAt": "2026-03-02T18:35:00.000Z",
           *       "completedAt": "2026-03-02T18:31:00.000Z",
           *       "result": {
           *         "actionId": "01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50",
           *         "status": "completed",
           *         "leaderboard": "game1",
           *         "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *         "score": {
           *           "previous": 100,
           *           "current": 150,
           *           "delta": 50
           *         },
           *         "rank": {
           *           "previous": 100,
           *           "current": 150
           *         },
           *         "transactionId": "01980f3b-2e31-7f46-b7c5-3d0e9f8a7b60",
           *         "completedAt": "2026-03-02T18:31:00.000Z"
           *       },
           *       "metadata": {
           *         "difficulty": "hard"
           *       },
           *       "completionMetadata": {
           *         "level": 3
           *       }
           *     }
           */
          'application/json': components['schemas']['Action'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user. `ACTION_NOT_FOUND`: Unknown action */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `ACTION_ALREADY_COMPLETED`: The action was completed before. `ACTION_IN_PROGRESS`: The action is being completed */
      409: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `ACTION_REJECTED`: The action was rejected */
      422: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  completeSigned: {
    parameters: {
      query?: never;
      header?: {
        /**
         * @description `wait=<seconds>` (up to 30) or `respond-async`: how long to wait before 202.
         * @example wait=10
         */
        Prefer?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        /**
         * @example {
         *       "actionId": "01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50",
         *       "type": "COMPLETE_QUEST",
         *       "leaderboard": "game1",
         *       "timestamp": "2026-03-02T18:30:00.000Z",
         *       "signature": "9c1185a5c5e9fc54612808977ee8f548b2258d31b8ff6c0b6d6a4f7c1e2d3b4a"
         *     }
         */
        'application/json': components['schemas']['CompleteSignedRequest'];
      };
    };
    responses: {
      /** @description It counts */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "actionId": "01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50",
           *       "status": "completed",
           *       "leaderboard": "game1",
           *       "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *       "score": {
           *         "previous": 100,
           *         "current": 150,
           *         "delta": 50
           *       },
           *       "rank": {
           *         "previous": 100,
           *         "current": 150
           *       },
           *       "transactionId": "01980f3b-2e31-7f46-b7c5-3d0e9f8a7b60",
           *       "completedAt": "2026-03-02T18:31:00.000Z"
           *     }
           */
          'application/json': components['schemas']['CompletionResult'];
        };
      };
      /** @description It is accepted and will count; ask the status URL */
      202: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          Location: components['headers']['Location'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "actionId": "01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50",
           *       "status": "queued",
           *       "statusUrl": "/api/v1/actions/01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50"
           *     }
           */
          'application/json': components['schemas']['QueuedCompletion'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid. `UNKNOWN_ACTION_TYPE`: Unknown action type. `UNKNOWN_LEADERBOARD`: Unknown leaderboard */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned. `VERIFICATION_REQUIRED`: Verification is required. `CLIENT_SIGNING_OFF`: Client-signed completions are off. `SIGNATURE_INVALID`: The signature is not valid. `TIMESTAMP_OUT_OF_RANGE`: The timestamp is too far from now */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `ACTION_ALREADY_COMPLETED`: The action was completed before. `ACTION_IN_PROGRESS`: The action is being completed. `ACTION_CANCELLED`: The action was cancelled. `LEADERBOARD_CLOSED`: The leaderboard is closed. `ACTION_ID_TAKEN`: The action id is taken */
      409: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `PAYLOAD_TOO_LARGE`: The body is too large */
      413: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNSUPPORTED_MEDIA_TYPE`: The body must be JSON */
      415: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `ACTION_TOO_FAST`: The action was completed too fast. `ACTION_REJECTED`: The action was rejected */
      422: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests. `TOO_MANY_OPEN_ACTIONS`: Too many open actions */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  listLeaderboards: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Every leaderboard, global first */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "leaderboards": [
           *         {
           *           "key": "game1",
           *           "title": "First game",
           *           "periods": [
           *             "all",
           *             "daily",
           *             "weekly",
           *             "monthly"
           *           ],
           *           "scoreCap": 1000000,
           *           "maxPointsPerUpdate": 100,
           *           "opensAt": "2026-03-01T00:00:00.000Z",
           *           "closesAt": "2026-04-01T00:00:00.000Z"
           *         }
           *       ]
           *     }
           */
          'application/json': components['schemas']['ListLeaderboardsResponse'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  getLeaderboard: {
    parameters: {
      query?: {
        /**
         * @description UTC; weeks are ISO weeks
         * @example weekly
         */
        period?: 'all' | 'daily' | 'weekly' | 'monthly';
        /**
         * @description a day of the period, YYYY-MM-DD; not with the period all
         * @example 2026-03-02
         */
        date?: string;
        /**
         * @description entries on a page
         * @example 10
         */
        limit?: number;
        /**
         * @description 0 when not given
         * @example 0
         */
        offset?: number;
        /**
         * @description `nextCursor` of the page before: neither skips nor repeats while scores change
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        cursor?: string;
      };
      header?: {
        /**
         * @description The `ETag` of the page that the client has; answered 304 if it is current.
         * @example "Zk3vYw1qT0mB7pXc"
         */
        'If-None-Match'?: string;
      };
      path: {
        /**
         * @description a leaderboard’s key; case-sensitive
         * @example game1
         */
        key: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The page */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          ETag: components['headers']['ETag'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "leaderboard": "game1",
           *       "period": "weekly",
           *       "periodStart": "2026-03-02T00:00:00.000Z",
           *       "periodEnd": "2026-03-09T00:00:00.000Z",
           *       "version": 42,
           *       "total": 1250,
           *       "updatedAt": "2026-03-02T18:30:00.000Z",
           *       "state": "open",
           *       "closedAt": "2026-04-01T00:00:00.000Z",
           *       "correctedAt": "2026-03-02T18:30:00.000Z",
           *       "entries": [
           *         {
           *           "rank": 3,
           *           "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *           "username": "ada",
           *           "avatarUrl": "https://images.example.org/ada.png",
           *           "score": 150,
           *           "updatedAt": "2026-03-02T18:30:00.000Z"
           *         }
           *       ],
           *       "nextCursor": null
           *     }
           */
          'application/json': components['schemas']['Leaderboard'];
        };
      };
      /** @description Not changed since the ETag in If-None-Match */
      304: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          ETag: components['headers']['ETag'];
          [name: string]: unknown;
        };
        content?: never;
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user. `LEADERBOARD_NOT_FOUND`: Unknown leaderboard */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  getStanding: {
    parameters: {
      query?: {
        /**
         * @description UTC; weeks are ISO weeks
         * @example weekly
         */
        period?: 'all' | 'daily' | 'weekly' | 'monthly';
        /**
         * @description a day of the period, YYYY-MM-DD; not with the period all
         * @example 2026-03-02
         */
        date?: string;
        /**
         * @description entries on each side of the user
         * @example 2
         */
        neighbors?: number;
      };
      header?: never;
      path: {
        /**
         * @description a leaderboard’s key; case-sensitive
         * @example game1
         */
        key: string;
        /**
         * @description id of a user
         * @example 01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10
         */
        userId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Rank, score and neighbourhood */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *       "username": "ada",
           *       "score": 150,
           *       "rank": 3,
           *       "usersAbove": 2,
           *       "usersBelow": 1247,
           *       "total": 1250,
           *       "percentile": 99.8,
           *       "neighbors": [
           *         {
           *           "rank": 3,
           *           "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *           "username": "ada",
           *           "avatarUrl": "https://images.example.org/ada.png",
           *           "score": 150,
           *           "updatedAt": "2026-03-02T18:30:00.000Z"
           *         }
           *       ]
           *     }
           */
          'application/json': components['schemas']['Standing'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user. `LEADERBOARD_NOT_FOUND`: Unknown leaderboard */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  getFriendsLeaderboard: {
    parameters: {
      query?: {
        /**
         * @description UTC; weeks are ISO weeks
         * @example weekly
         */
        period?: 'all' | 'daily' | 'weekly' | 'monthly';
        /**
         * @description entries on a page
         * @example 10
         */
        limit?: number;
        /**
         * @description entries to skip
         * @example 0
         */
        offset?: number;
      };
      header?: never;
      path: {
        /**
         * @description a leaderboard’s key; case-sensitive
         * @example game1
         */
        key: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The page */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "leaderboard": "game1",
           *       "period": "weekly",
           *       "periodStart": "2026-03-02T00:00:00.000Z",
           *       "periodEnd": "2026-03-09T00:00:00.000Z",
           *       "version": 42,
           *       "total": 1250,
           *       "updatedAt": "2026-03-02T18:30:00.000Z",
           *       "state": "open",
           *       "closedAt": "2026-04-01T00:00:00.000Z",
           *       "correctedAt": "2026-03-02T18:30:00.000Z",
           *       "entries": [
           *         {
           *           "rank": 3,
           *           "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *           "username": "ada",
           *           "avatarUrl": "https://images.example.org/ada.png",
           *           "score": 150,
           *           "updatedAt": "2026-03-02T18:30:00.000Z",
           *           "position": 1
           *         }
           *       ]
           *     }
           */
          'application/json': components['schemas']['FriendsLeaderboard'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user. `LEADERBOARD_NOT_FOUND`: Unknown leaderboard */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  getRanks: {
    parameters: {
      query?: {
        /**
         * @description UTC; weeks are ISO weeks
         * @example weekly
         */
        period?: 'all' | 'daily' | 'weekly' | 'monthly';
        /**
         * @description a day of the period, YYYY-MM-DD; not with the period all
         * @example 2026-03-02
         */
        date?: string;
      };
      header?: never;
      path: {
        /**
         * @description a leaderboard’s key; case-sensitive
         * @example game1
         */
        key: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        /**
         * @example {
         *       "userIds": [
         *         "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10"
         *       ]
         *     }
         */
        'application/json': components['schemas']['GetRanksRequest'];
      };
    };
    responses: {
      /** @description Ranks in the order asked; unknown users are left out */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "leaderboard": "game1",
           *       "period": "weekly",
           *       "ranks": [
           *         {
           *           "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *           "username": "ada",
           *           "score": 150,
           *           "rank": 3
           *         }
           *       ]
           *     }
           */
          'application/json': components['schemas']['GetRanksResponse'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user. `LEADERBOARD_NOT_FOUND`: Unknown leaderboard */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `PAYLOAD_TOO_LARGE`: The body is too large */
      413: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNSUPPORTED_MEDIA_TYPE`: The body must be JSON */
      415: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  listFeatures: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description By key */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "features": {
           *         "broadcast": {
           *           "enabled": true,
           *           "mutedLeaderboards": [
           *             "game2"
           *           ]
           *         },
           *         "submissions": {
           *           "enabled": true,
           *           "mutedLeaderboards": [
           *             "game2"
           *           ]
           *         }
           *       }
           *     }
           */
          'application/json': components['schemas']['ListFeaturesResponse'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  getFeature: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /**
         * @description key of the definition; case-sensitive
         * @example broadcast
         */
        key: 'broadcast' | 'submissions';
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description As it is */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "enabled": true,
           *       "mutedLeaderboards": [
           *         "game2"
           *       ]
           *     }
           */
          'application/json': components['schemas']['GetFeatureResponse'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  setFeature: {
    parameters: {
      query?: never;
      header?: {
        /**
         * @description Makes a retry safe: the same key with the same request gets the first answer again, with another request 409. Kept 30 days.
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        'Idempotency-Key'?: string;
      };
      path: {
        /**
         * @description key of the definition; case-sensitive
         * @example broadcast
         */
        key: 'broadcast' | 'submissions';
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        /**
         * @example {
         *       "enabled": true,
         *       "mutedLeaderboards": [
         *         "game2"
         *       ]
         *     }
         */
        'application/json': components['schemas']['SetFeatureRequest'];
      };
    };
    responses: {
      /** @description As it is now */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "enabled": true,
           *       "mutedLeaderboards": [
           *         "game2"
           *       ]
           *     }
           */
          'application/json': components['schemas']['SetFeatureResponse'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `IDEMPOTENCY_KEY_REUSED`: The idempotency key was used for another request */
      409: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `PAYLOAD_TOO_LARGE`: The body is too large */
      413: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNSUPPORTED_MEDIA_TYPE`: The body must be JSON */
      415: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  getMe: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The signed-in user */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *       "username": "ada",
           *       "avatarUrl": "https://images.example.org/ada.png",
           *       "role": "player",
           *       "createdAt": "2026-03-01T09:00:00.000Z",
           *       "email": "ada@example.org",
           *       "allowSpectators": true
           *     }
           */
          'application/json': components['schemas']['Me'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  eraseMe: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        /**
         * @example {
         *       "password": "correct horse battery"
         *     }
         */
        'application/json': components['schemas']['EraseMeRequest'];
      };
    };
    responses: {
      /** @description Erased */
      204: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content?: never;
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired. `BAD_CREDENTIALS`: Wrong user name or password */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned. `FORBIDDEN`: Not allowed */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `PAYLOAD_TOO_LARGE`: The body is too large */
      413: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNSUPPORTED_MEDIA_TYPE`: The body must be JSON */
      415: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  updateMe: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        /**
         * @example {
         *       "username": "ada",
         *       "avatarUrl": "https://images.example.org/ada.png",
         *       "allowSpectators": true
         *     }
         */
        'application/json': components['schemas']['UpdateMeRequest'];
      };
    };
    responses: {
      /** @description The changed user */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *       "username": "ada",
           *       "avatarUrl": "https://images.example.org/ada.png",
           *       "role": "player",
           *       "createdAt": "2026-03-01T09:00:00.000Z",
           *       "email": "ada@example.org",
           *       "allowSpectators": true
           *     }
           */
          'application/json': components['schemas']['Me'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USERNAME_TAKEN`: The user name is taken */
      409: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `PAYLOAD_TOO_LARGE`: The body is too large */
      413: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNSUPPORTED_MEDIA_TYPE`: The body must be JSON */
      415: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  exportMe: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Everything that is kept of the caller but credentials */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Content-Disposition': components['headers']['Content-Disposition'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "exportedAt": "2026-03-02T18:30:00.000Z",
           *       "user": {
           *         "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *         "subject": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *         "username": "ada",
           *         "email": "ada@example.org",
           *         "role": "player",
           *         "avatarUrl": "https://images.example.org/ada.png",
           *         "allowSpectators": true,
           *         "bannedAt": "2026-03-02T18:30:00.000Z",
           *         "banReason": "Scores that cannot be played",
           *         "erasedAt": "2026-03-02T18:30:00.000Z",
           *         "createdAt": "2026-03-01T09:00:00.000Z",
           *         "updatedAt": "2026-03-02T18:30:00.000Z"
           *       },
           *       "sessions": [
           *         {
           *           "sessionId": "01980f3a-9a01-7c11-8f00-5d2c7b3e4a60",
           *           "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *           "createdAt": "2026-03-01T09:00:00.000Z",
           *           "revokedAt": "2026-03-02T18:30:00.000Z",
           *           "revokedBecause": "signed out",
           *           "userAgent": "Mozilla/5.0"
           *         }
           *       ],
           *       "scores": [
           *         {
           *           "leaderboard": "game1",
           *           "period": "weekly",
           *           "startsAt": "2026-03-02T18:30:00.000Z",
           *           "score": 150,
           *           "reachedAt": "2026-03-02T18:30:00.000Z"
           *         }
           *       ],
           *       "standings": [
           *         {
           *           "leaderboard": "game1",
           *           "period": "weekly",
           *           "startsAt": "2026-03-02T18:30:00.000Z",
           *           "endsAt": "2026-03-09T00:00:00.000Z",
           *           "rank": 3,
           *           "score": 150,
           *           "reachedAt": "2026-03-02T18:30:00.000Z"
           *         }
           *       ],
           *       "achievements": [
           *         {
           *           "key": "game1",
           *           "actionId": "01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50",
           *           "unlockedAt": "2026-03-02T18:30:00.000Z"
           *         }
           *       ],
           *       "friends": [
           *         {
           *           "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *           "since": "2026-03-02T18:30:00.000Z"
           *         }
           *       ],
           *       "queuedCompletions": [
           *         {
           *           "actionId": "01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50",
           *           "payload": {},
           *           "acceptedAt": "2026-03-02T18:30:00.000Z"
           *         }
           *       ],
           *       "auditLog": [
           *         {
           *           "id": "01980f3c-5b64-7a79-8e0f-6a3b2c1d0e90",
           *           "at": "2026-03-02T18:30:00.000Z",
           *           "action": "user.ban",
           *           "details": {
           *             "reason": "Scores that cannot be played"
           *           }
           *         }
           *       ],
           *       "ledger": [
           *         {
           *           "transactionId": "01980f3b-2e31-7f46-b7c5-3d0e9f8a7b60",
           *           "kind": "completion",
           *           "actionId": "01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50",
           *           "leaderboard": "game1",
           *           "type": "COMPLETE_QUEST",
           *           "points": 50,
           *           "delta": 50,
           *           "before": 100,
           *           "after": 150,
           *           "globalDelta": 50,
           *           "rankPrevious": 5,
           *           "rankCurrent": 3,
           *           "acceptedAt": "2026-03-02T18:30:00.000Z",
           *           "appliedAt": "2026-03-02T18:30:00.000Z",
           *           "reverses": "01980f3b-2e31-7f46-b7c5-3d0e9f8a7b60",
           *           "reason": "Scores that cannot be played"
           *         }
           *       ],
           *       "actions": [
           *         {
           *           "actionId": "01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50",
           *           "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *           "type": "COMPLETE_QUEST",
           *           "leaderboard": "game1",
           *           "points": 50,
           *           "difficulty": "hard",
           *           "status": "started",
           *           "source": "server",
           *           "metadata": {
           *             "difficulty": "hard"
           *           },
           *           "completionMetadata": {
           *             "level": 3
           *           },
           *           "startedAt": "2026-03-02T18:30:00.000Z",
           *           "expiresAt": "2026-03-02T18:35:00.000Z",
           *           "acceptedAt": "2026-03-02T18:30:00.000Z",
           *           "completedAt": "2026-03-02T18:31:00.000Z",
           *           "ip": "203.0.113.7",
           *           "userAgent": "Mozilla/5.0"
           *         }
           *       ]
           *     }
           */
          'application/json': components['schemas']['Export'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  listFriends: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description In the order in which they became so */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "friends": [
           *         {
           *           "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *           "username": "ada",
           *           "avatarUrl": "https://images.example.org/ada.png",
           *           "since": "2026-03-02T18:30:00.000Z"
           *         }
           *       ]
           *     }
           */
          'application/json': components['schemas']['ListFriendsResponse'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  addFriend: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /**
         * @description id of a user
         * @example 01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10
         */
        userId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Done */
      204: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content?: never;
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  removeFriend: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /**
         * @description id of a user
         * @example 01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10
         */
        userId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Done */
      204: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content?: never;
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  getUser: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /**
         * @description id of a user
         * @example 01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10
         */
        userId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The user */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *       "username": "ada",
           *       "avatarUrl": "https://images.example.org/ada.png",
           *       "role": "player",
           *       "createdAt": "2026-03-01T09:00:00.000Z"
           *     }
           */
          'application/json': components['schemas']['User'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  getHistory: {
    parameters: {
      query?: {
        /**
         * @description a leaderboard’s key; case-sensitive
         * @example game1
         */
        leaderboard?: string;
        /**
         * @description 1d to 365d
         * @example 7d
         */
        period?: string;
      };
      header?: never;
      path: {
        /**
         * @description id of a user
         * @example 01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10
         */
        userId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Every day of the window, today last */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "points": [
           *         {
           *           "date": "2026-03-02",
           *           "score": 150,
           *           "gain": 50
           *         }
           *       ],
           *       "trend": "increasing",
           *       "averageDailyGain": 21.4
           *     }
           */
          'application/json': components['schemas']['History'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user. `LEADERBOARD_NOT_FOUND`: Unknown leaderboard */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  getAchievements: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /**
         * @description id of a user
         * @example 01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10
         */
        userId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Oldest first */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "achievements": [
           *         {
           *           "key": "game1",
           *           "title": "First game",
           *           "unlockedAt": "2026-03-02T18:30:00.000Z"
           *         }
           *       ]
           *     }
           */
          'application/json': components['schemas']['GetAchievementsResponse'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  listLeaderboardDefinitions: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description All of them */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "items": [
           *         {
           *           "key": "game1",
           *           "title": "First game",
           *           "scoreCap": 1000000,
           *           "maxPointsPerUpdate": 100,
           *           "periods": [
           *             "all",
           *             "daily",
           *             "weekly",
           *             "monthly"
           *           ],
           *           "visibility": "public",
           *           "opensAt": "2026-03-01T00:00:00.000Z",
           *           "closesAt": "2026-04-01T00:00:00.000Z",
           *           "archivedAt": "2026-04-01T00:00:00.000Z",
           *           "createdAt": "2026-03-01T09:00:00.000Z",
           *           "updatedAt": "2026-03-02T18:30:00.000Z"
           *         }
           *       ]
           *     }
           */
          'application/json': components['schemas']['ListLeaderboardDefinitionsResponse'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  createLeaderboard: {
    parameters: {
      query?: never;
      header?: {
        /**
         * @description Makes a retry safe: the same key with the same request gets the first answer again, with another request 409. Kept 30 days.
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        'Idempotency-Key'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        /**
         * @example {
         *       "key": "game1",
         *       "title": "First game",
         *       "scoreCap": 1000000,
         *       "maxPointsPerUpdate": 100,
         *       "periods": [
         *         "all",
         *         "daily",
         *         "weekly",
         *         "monthly"
         *       ],
         *       "visibility": "public",
         *       "opensAt": "2026-03-01T00:00:00.000Z",
         *       "closesAt": "2026-04-01T00:00:00.000Z"
         *     }
         */
        'application/json': components['schemas']['CreateLeaderboardRequest'];
      };
    };
    responses: {
      /** @description Created */
      201: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          Location: components['headers']['Location'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "key": "game1",
           *       "title": "First game",
           *       "scoreCap": 1000000,
           *       "maxPointsPerUpdate": 100,
           *       "periods": [
           *         "all",
           *         "daily",
           *         "weekly",
           *         "monthly"
           *       ],
           *       "visibility": "public",
           *       "opensAt": "2026-03-01T00:00:00.000Z",
           *       "closesAt": "2026-04-01T00:00:00.000Z",
           *       "archivedAt": "2026-04-01T00:00:00.000Z",
           *       "createdAt": "2026-03-01T09:00:00.000Z",
           *       "updatedAt": "2026-03-02T18:30:00.000Z",
           *       "warnings": []
           *     }
           */
          'application/json': components['schemas']['ChangedLeaderboard'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `IDEMPOTENCY_KEY_REUSED`: The idempotency key was used for another request. `KEY_TAKEN`: The key is taken */
      409: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `PAYLOAD_TOO_LARGE`: The body is too large */
      413: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNSUPPORTED_MEDIA_TYPE`: The body must be JSON */
      415: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  archiveLeaderboard: {
    parameters: {
      query?: never;
      header?: {
        /**
         * @description Makes a retry safe: the same key with the same request gets the first answer again, with another request 409. Kept 30 days.
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        'Idempotency-Key'?: string;
      };
      path: {
        /**
         * @description key of the definition; case-sensitive
         * @example game1
         */
        key: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Archived */
      204: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content?: never;
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user. `LEADERBOARD_NOT_FOUND`: Unknown leaderboard */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `IDEMPOTENCY_KEY_REUSED`: The idempotency key was used for another request */
      409: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  updateLeaderboard: {
    parameters: {
      query?: never;
      header?: {
        /**
         * @description Makes a retry safe: the same key with the same request gets the first answer again, with another request 409. Kept 30 days.
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        'Idempotency-Key'?: string;
      };
      path: {
        /**
         * @description key of the definition; case-sensitive
         * @example game1
         */
        key: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        /**
         * @example {
         *       "title": "First game",
         *       "scoreCap": 1000000,
         *       "maxPointsPerUpdate": 100,
         *       "periods": [
         *         "all",
         *         "daily",
         *         "weekly",
         *         "monthly"
         *       ],
         *       "visibility": "public",
         *       "opensAt": "2026-03-01T00:00:00.000Z",
         *       "closesAt": "2026-04-01T00:00:00.000Z"
         *     }
         */
        'application/json': components['schemas']['UpdateLeaderboardRequest'];
      };
    };
    responses: {
      /** @description Changed */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "key": "game1",
           *       "title": "First game",
           *       "scoreCap": 1000000,
           *       "maxPointsPerUpdate": 100,
           *       "periods": [
           *         "all",
           *         "daily",
           *         "weekly",
           *         "monthly"
           *       ],
           *       "visibility": "public",
           *       "opensAt": "2026-03-01T00:00:00.000Z",
           *       "closesAt": "2026-04-01T00:00:00.000Z",
           *       "archivedAt": "2026-04-01T00:00:00.000Z",
           *       "createdAt": "2026-03-01T09:00:00.000Z",
           *       "updatedAt": "2026-03-02T18:30:00.000Z",
           *       "warnings": []
           *     }
           */
          'application/json': components['schemas']['ChangedLeaderboard'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user. `LEADERBOARD_NOT_FOUND`: Unknown leaderboard */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `IDEMPOTENCY_KEY_REUSED`: The idempotency key was used for another request */
      409: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `PAYLOAD_TOO_LARGE`: The body is too large */
      413: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNSUPPORTED_MEDIA_TYPE`: The body must be JSON */
      415: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  listActionTypeDefinitions: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description All of them */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "items": [
           *         {
           *           "key": "game1",
           *           "title": "First game",
           *           "points": 50,
           *           "difficulties": {
           *             "easy": 0.5,
           *             "hard": 2
           *           },
           *           "leaderboards": [
           *             "game1"
           *           ],
           *           "clientSigned": false,
           *           "minDurationMs": 5000,
           *           "archivedAt": "2026-04-01T00:00:00.000Z",
           *           "createdAt": "2026-03-01T09:00:00.000Z",
           *           "updatedAt": "2026-03-02T18:30:00.000Z"
           *         }
           *       ]
           *     }
           */
          'application/json': components['schemas']['ListActionTypeDefinitionsResponse'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  createActionType: {
    parameters: {
      query?: never;
      header?: {
        /**
         * @description Makes a retry safe: the same key with the same request gets the first answer again, with another request 409. Kept 30 days.
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        'Idempotency-Key'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        /**
         * @example {
         *       "key": "game1",
         *       "title": "First game",
         *       "points": 50,
         *       "difficulties": {
         *         "easy": 0.5,
         *         "hard": 2
         *       },
         *       "leaderboards": [
         *         "game1"
         *       ],
         *       "clientSigned": false,
         *       "minDurationMs": 5000
         *     }
         */
        'application/json': components['schemas']['CreateActionTypeRequest'];
      };
    };
    responses: {
      /** @description Created */
      201: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          Location: components['headers']['Location'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "key": "game1",
           *       "title": "First game",
           *       "points": 50,
           *       "difficulties": {
           *         "easy": 0.5,
           *         "hard": 2
           *       },
           *       "leaderboards": [
           *         "game1"
           *       ],
           *       "clientSigned": false,
           *       "minDurationMs": 5000,
           *       "archivedAt": "2026-04-01T00:00:00.000Z",
           *       "createdAt": "2026-03-01T09:00:00.000Z",
           *       "updatedAt": "2026-03-02T18:30:00.000Z",
           *       "warnings": []
           *     }
           */
          'application/json': components['schemas']['ChangedActionType'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `IDEMPOTENCY_KEY_REUSED`: The idempotency key was used for another request. `KEY_TAKEN`: The key is taken */
      409: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `PAYLOAD_TOO_LARGE`: The body is too large */
      413: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNSUPPORTED_MEDIA_TYPE`: The body must be JSON */
      415: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  archiveActionType: {
    parameters: {
      query?: never;
      header?: {
        /**
         * @description Makes a retry safe: the same key with the same request gets the first answer again, with another request 409. Kept 30 days.
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        'Idempotency-Key'?: string;
      };
      path: {
        /**
         * @description key of the definition; case-sensitive
         * @example game1
         */
        key: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Archived */
      204: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content?: never;
      };
      /** @description `INVALID_REQUEST`: The request is not valid. `UNKNOWN_ACTION_TYPE`: Unknown action type */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `IDEMPOTENCY_KEY_REUSED`: The idempotency key was used for another request */
      409: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  updateActionType: {
    parameters: {
      query?: never;
      header?: {
        /**
         * @description Makes a retry safe: the same key with the same request gets the first answer again, with another request 409. Kept 30 days.
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        'Idempotency-Key'?: string;
      };
      path: {
        /**
         * @description key of the definition; case-sensitive
         * @example game1
         */
        key: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        /**
         * @example {
         *       "title": "First game",
         *       "points": 50,
         *       "difficulties": {
         *         "easy": 0.5,
         *         "hard": 2
         *       },
         *       "leaderboards": [
         *         "game1"
         *       ],
         *       "clientSigned": false,
         *       "minDurationMs": 5000
         *     }
         */
        'application/json': components['schemas']['UpdateActionTypeRequest'];
      };
    };
    responses: {
      /** @description Changed */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "key": "game1",
           *       "title": "First game",
           *       "points": 50,
           *       "difficulties": {
           *         "easy": 0.5,
           *         "hard": 2
           *       },
           *       "leaderboards": [
           *         "game1"
           *       ],
           *       "clientSigned": false,
           *       "minDurationMs": 5000,
           *       "archivedAt": "2026-04-01T00:00:00.000Z",
           *       "createdAt": "2026-03-01T09:00:00.000Z",
           *       "updatedAt": "2026-03-02T18:30:00.000Z",
           *       "warnings": []
           *     }
           */
          'application/json': components['schemas']['ChangedActionType'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid. `UNKNOWN_ACTION_TYPE`: Unknown action type */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `IDEMPOTENCY_KEY_REUSED`: The idempotency key was used for another request */
      409: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `PAYLOAD_TOO_LARGE`: The body is too large */
      413: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNSUPPORTED_MEDIA_TYPE`: The body must be JSON */
      415: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  banUser: {
    parameters: {
      query?: never;
      header?: {
        /**
         * @description Makes a retry safe: the same key with the same request gets the first answer again, with another request 409. Kept 30 days.
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        'Idempotency-Key'?: string;
      };
      path: {
        /**
         * @description id of a user
         * @example 01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10
         */
        userId: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        /**
         * @example {
         *       "reason": "Scores that cannot be played"
         *     }
         */
        'application/json': components['schemas']['BanUserRequest'];
      };
    };
    responses: {
      /** @description Banned */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *       "banned": true,
           *       "reason": "Scores that cannot be played"
           *     }
           */
          'application/json': components['schemas']['Ban'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `IDEMPOTENCY_KEY_REUSED`: The idempotency key was used for another request */
      409: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `PAYLOAD_TOO_LARGE`: The body is too large */
      413: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNSUPPORTED_MEDIA_TYPE`: The body must be JSON */
      415: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  unbanUser: {
    parameters: {
      query?: never;
      header?: {
        /**
         * @description Makes a retry safe: the same key with the same request gets the first answer again, with another request 409. Kept 30 days.
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        'Idempotency-Key'?: string;
      };
      path: {
        /**
         * @description id of a user
         * @example 01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10
         */
        userId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description No longer banned */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *       "banned": true,
           *       "reason": "Scores that cannot be played"
           *     }
           */
          'application/json': components['schemas']['Ban'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `IDEMPOTENCY_KEY_REUSED`: The idempotency key was used for another request */
      409: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  adjustScore: {
    parameters: {
      query?: never;
      header: {
        /**
         * @description Makes a retry safe: the same key with the same request gets the first answer again, with another request 409. Kept 30 days.
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        'Idempotency-Key': string;
      };
      path: {
        /**
         * @description id of a user
         * @example 01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10
         */
        userId: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        /**
         * @example {
         *       "leaderboard": "game1",
         *       "delta": 50,
         *       "reason": "Scores that cannot be played"
         *     }
         */
        'application/json': components['schemas']['AdjustScoreRequest'];
      };
    };
    responses: {
      /** @description The score has changed */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "transactionId": "01980f3b-2e31-7f46-b7c5-3d0e9f8a7b60",
           *       "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *       "leaderboard": "game1",
           *       "requested": -50,
           *       "delta": 50,
           *       "score": {
           *         "previous": 100,
           *         "current": 150,
           *         "delta": 50
           *       },
           *       "completedAt": "2026-03-02T18:31:00.000Z"
           *     }
           */
          'application/json': components['schemas']['Correction'];
        };
      };
      /** @description It is accepted, and changes the score as soon as the user’s line comes to it. The same request with the same key tells what became of it, as does GET /admin/transactions/{transactionId}. */
      202: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "transactionId": "01980f3b-2e31-7f46-b7c5-3d0e9f8a7b60",
           *       "status": "queued"
           *     }
           */
          'application/json': components['schemas']['QueuedCorrection'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid. `UNKNOWN_LEADERBOARD`: Unknown leaderboard */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `IDEMPOTENCY_KEY_REUSED`: The idempotency key was used for another request */
      409: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `PAYLOAD_TOO_LARGE`: The body is too large */
      413: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNSUPPORTED_MEDIA_TYPE`: The body must be JSON */
      415: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  rollBackTransaction: {
    parameters: {
      query?: never;
      header: {
        /**
         * @description Makes a retry safe: the same key with the same request gets the first answer again, with another request 409. Kept 30 days.
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        'Idempotency-Key': string;
      };
      path: {
        /**
         * @description id of a ledger entry
         * @example 01980f3b-2e31-7f46-b7c5-3d0e9f8a7b60
         */
        transactionId: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        /**
         * @example {
         *       "reason": "Scores that cannot be played"
         *     }
         */
        'application/json': components['schemas']['RollBackTransactionRequest'];
      };
    };
    responses: {
      /** @description The score has changed */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "transactionId": "01980f3b-2e31-7f46-b7c5-3d0e9f8a7b60",
           *       "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *       "leaderboard": "game1",
           *       "requested": -50,
           *       "delta": 50,
           *       "score": {
           *         "previous": 100,
           *         "current": 150,
           *         "delta": 50
           *       },
           *       "completedAt": "2026-03-02T18:31:00.000Z"
           *     }
           */
          'application/json': components['schemas']['Correction'];
        };
      };
      /** @description It is accepted, and changes the score as soon as the user’s line comes to it. The same request with the same key tells what became of it, as does GET /admin/transactions/{transactionId}. */
      202: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "transactionId": "01980f3b-2e31-7f46-b7c5-3d0e9f8a7b60",
           *       "status": "queued"
           *     }
           */
          'application/json': components['schemas']['QueuedCorrection'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user. `NOT_FOUND`: There is nothing at this address */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `IDEMPOTENCY_KEY_REUSED`: The idempotency key was used for another request */
      409: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `PAYLOAD_TOO_LARGE`: The body is too large */
      413: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNSUPPORTED_MEDIA_TYPE`: The body must be JSON */
      415: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  findUsers: {
    parameters: {
      query?: {
        /**
         * @description a part of what is looked for
         * @example ada
         */
        query?: string;
        /**
         * @description only users of this status
         * @example active
         */
        status?: 'active' | 'banned' | 'erased' | 'admin';
        /**
         * @description users a page
         * @example 10
         */
        limit?: number;
        /**
         * @description `nextCursor` of the page before
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        cursor?: string;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description A page of users, newest ids first */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "users": [
           *         {
           *           "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *           "username": "ada",
           *           "email": "ada@example.org",
           *           "role": "player",
           *           "ban": {
           *             "at": "2026-03-02T18:30:00.000Z",
           *             "reason": "Scores that cannot be played"
           *           },
           *           "erasedAt": "2026-03-02T18:30:00.000Z",
           *           "createdAt": "2026-03-01T09:00:00.000Z"
           *         }
           *       ],
           *       "nextCursor": null
           *     }
           */
          'application/json': components['schemas']['FindUsersResponse'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  getUserAsAdministrator: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /**
         * @description id of a user
         * @example 01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10
         */
        userId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Profile, ban, logins and scores */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *       "username": "ada",
           *       "email": "ada@example.org",
           *       "role": "player",
           *       "ban": {
           *         "at": "2026-03-02T18:30:00.000Z",
           *         "reason": "Scores that cannot be played"
           *       },
           *       "erasedAt": "2026-03-02T18:30:00.000Z",
           *       "createdAt": "2026-03-01T09:00:00.000Z",
           *       "avatarUrl": "https://images.example.org/ada.png",
           *       "allowSpectators": true,
           *       "sessions": 0,
           *       "scores": [
           *         {
           *           "leaderboard": "game1",
           *           "period": "weekly",
           *           "periodStart": "2026-03-02T00:00:00.000Z",
           *           "score": 150,
           *           "reachedAt": "2026-03-02T18:30:00.000Z"
           *         }
           *       ]
           *     }
           */
          'application/json': components['schemas']['AdminUserDetails'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  listUserLedger: {
    parameters: {
      query?: {
        /**
         * @description a leaderboard’s key; case-sensitive
         * @example game1
         */
        leaderboard?: string;
        /**
         * @description accepted at this time or later
         * @example 2026-03-01T00:00:00.000Z
         */
        from?: string;
        /**
         * @description accepted before this time
         * @example 2026-04-01T00:00:00.000Z
         */
        to?: string;
        /**
         * @description entries a page
         * @example 10
         */
        limit?: number;
        /**
         * @description `nextCursor` of the page before
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        cursor?: string;
      };
      header?: never;
      path: {
        /**
         * @description id of a user
         * @example 01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10
         */
        userId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description A page of entries */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "entries": [
           *         {
           *           "transactionId": "01980f3b-2e31-7f46-b7c5-3d0e9f8a7b60",
           *           "status": "applied",
           *           "failure": "The user is not known",
           *           "kind": "completion",
           *           "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *           "username": "ada",
           *           "leaderboard": "game1",
           *           "type": "COMPLETE_QUEST",
           *           "actionId": "01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50",
           *           "points": 50,
           *           "delta": 50,
           *           "before": 100,
           *           "after": 150,
           *           "globalDelta": 50,
           *           "acceptedAt": "2026-03-02T18:30:00.000Z",
           *           "appliedAt": "2026-03-02T18:30:00.000Z",
           *           "reverses": "01980f3b-2e31-7f46-b7c5-3d0e9f8a7b60",
           *           "reversedBy": "01980f3c-6c75-7b8a-9f10-7b4c3d2e1fa0",
           *           "reason": "Scores that cannot be played",
           *           "actor": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *           "actorName": "operator"
           *         }
           *       ],
           *       "nextCursor": null
           *     }
           */
          'application/json': components['schemas']['ListUserLedgerResponse'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  getTransaction: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /**
         * @description id of a ledger entry
         * @example 01980f3b-2e31-7f46-b7c5-3d0e9f8a7b60
         */
        transactionId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The entry */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "transactionId": "01980f3b-2e31-7f46-b7c5-3d0e9f8a7b60",
           *       "status": "applied",
           *       "failure": "The user is not known",
           *       "kind": "completion",
           *       "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *       "username": "ada",
           *       "leaderboard": "game1",
           *       "type": "COMPLETE_QUEST",
           *       "actionId": "01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50",
           *       "points": 50,
           *       "delta": 50,
           *       "before": 100,
           *       "after": 150,
           *       "globalDelta": 50,
           *       "acceptedAt": "2026-03-02T18:30:00.000Z",
           *       "appliedAt": "2026-03-02T18:30:00.000Z",
           *       "reverses": "01980f3b-2e31-7f46-b7c5-3d0e9f8a7b60",
           *       "reversedBy": "01980f3c-6c75-7b8a-9f10-7b4c3d2e1fa0",
           *       "reason": "Scores that cannot be played",
           *       "actor": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *       "actorName": "operator"
           *     }
           */
          'application/json': components['schemas']['LedgerEntry'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user. `NOT_FOUND`: There is nothing at this address */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  readAuditLog: {
    parameters: {
      query?: {
        /**
         * @description as `user.ban`
         * @example user.ban
         */
        action?: string;
        /**
         * @description a user id
         * @example 01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10
         */
        actor?: string;
        /**
         * @description what it was done to: a user id, a key, the id of a job
         * @example 01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10
         */
        subject?: string;
        /**
         * @description at this time or later
         * @example 2026-03-01T00:00:00.000Z
         */
        from?: string;
        /**
         * @description before this time
         * @example 2026-04-01T00:00:00.000Z
         */
        to?: string;
        /**
         * @description entries on a page
         * @example 10
         */
        limit?: number;
        /**
         * @description `nextCursor` of the page before
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        cursor?: string;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description A page of the log */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "entries": [
           *         {
           *           "id": "01980f3c-5b64-7a79-8e0f-6a3b2c1d0e90",
           *           "at": "2026-03-02T18:30:00.000Z",
           *           "actor": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *           "actorName": "operator",
           *           "action": "user.ban",
           *           "subject": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *           "subjectName": "ada",
           *           "details": {
           *             "reason": "Scores that cannot be played"
           *           }
           *         }
           *       ],
           *       "nextCursor": null
           *     }
           */
          'application/json': components['schemas']['ReadAuditLogResponse'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  listReconciliations: {
    parameters: {
      query?: {
        /**
         * @description entries on a page
         * @example 10
         */
        limit?: number;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The newest of them */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "reconciliations": [
           *         {
           *           "id": "01980f3c-5b64-7a79-8e0f-6a3b2c1d0e90",
           *           "jobId": "reconcile-1772476200000",
           *           "trigger": "admin",
           *           "startedAt": "2026-03-02T18:30:00.000Z",
           *           "finishedAt": "2026-03-02T18:30:04.000Z",
           *           "compared": 5000,
           *           "drifted": 0,
           *           "error": null
           *         }
           *       ]
           *     }
           */
          'application/json': components['schemas']['ListReconciliationsResponse'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  reconcile: {
    parameters: {
      query?: never;
      header?: {
        /**
         * @description Makes a retry safe: the same key with the same request gets the first answer again, with another request 409. Kept 30 days.
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        'Idempotency-Key'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Accepted; it runs soon */
      202: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          Location: components['headers']['Location'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "jobId": "reconcile-1772476200000"
           *     }
           */
          'application/json': components['schemas']['ReconcileResponse'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `IDEMPOTENCY_KEY_REUSED`: The idempotency key was used for another request */
      409: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  closeSeason: {
    parameters: {
      query?: never;
      header?: {
        /**
         * @description Makes a retry safe: the same key with the same request gets the first answer again, with another request 409. Kept 30 days.
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        'Idempotency-Key'?: string;
      };
      path: {
        /**
         * @description a leaderboard’s key; case-sensitive
         * @example game1
         */
        key: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        /**
         * @example {
         *       "period": "weekly",
         *       "reason": "Scores that cannot be played"
         *     }
         */
        'application/json': components['schemas']['CloseSeasonRequest'];
      };
    };
    responses: {
      /** @description Closed, and its standings frozen */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "leaderboard": "game1",
           *       "period": "weekly",
           *       "closedAt": "2026-04-01T00:00:00.000Z",
           *       "places": 1250
           *     }
           */
          'application/json': components['schemas']['CloseSeasonResponse'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user. `LEADERBOARD_NOT_FOUND`: Unknown leaderboard */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `IDEMPOTENCY_KEY_REUSED`: The idempotency key was used for another request */
      409: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `PAYLOAD_TOO_LARGE`: The body is too large */
      413: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNSUPPORTED_MEDIA_TYPE`: The body must be JSON */
      415: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  listDeadCompletions: {
    parameters: {
      query?: {
        /**
         * @description entries on a page
         * @example 10
         */
        limit?: number;
        /**
         * @description `nextCursor` of the page before
         * @example 1772476200000
         */
        cursor?: string;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description A page of them */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "completions": [
           *         {
           *           "actionId": "01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50",
           *           "userId": "01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10",
           *           "username": "ada",
           *           "reason": "Scores that cannot be played",
           *           "accepted": true,
           *           "acceptedAt": "2026-03-02T18:30:00.000Z",
           *           "deadAt": "2026-03-02T18:30:00.000Z"
           *         }
           *       ],
           *       "nextCursor": null
           *     }
           */
          'application/json': components['schemas']['ListDeadCompletionsResponse'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  retryDeadCompletion: {
    parameters: {
      query?: never;
      header?: {
        /**
         * @description Makes a retry safe: the same key with the same request gets the first answer again, with another request 409. Kept 30 days.
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        'Idempotency-Key'?: string;
      };
      path: {
        /**
         * @description id of an action
         * @example 01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50
         */
        actionId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description It is in its user’s line again */
      202: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example {
           *       "actionId": "01980f3b-1d20-7e35-a6b4-2c9d8e7f6a50",
           *       "status": "queued"
           *     }
           */
          'application/json': components['schemas']['RetryDeadCompletionResponse'];
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `FORBIDDEN`: Not allowed. `USER_BANNED`: The user is banned */
      403: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user. `ACTION_NOT_FOUND`: Unknown action */
      404: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `IDEMPOTENCY_KEY_REUSED`: The idempotency key was used for another request */
      409: {
        headers: {
          'Retry-After': components['headers']['Retry-After-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
  streamLeaderboard: {
    parameters: {
      query?: {
        /**
         * @description UTC; weeks are ISO weeks
         * @example weekly
         */
        period?: 'all' | 'daily' | 'weekly' | 'monthly';
      };
      header?: {
        /**
         * @description id of the last event that was read; where it is current, no snapshot is sent
         * @example 42
         */
        'Last-Event-ID'?: string;
      };
      path: {
        /**
         * @description key of a leaderboard; case-sensitive
         * @example game1
         */
        key: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description The stream; it stays open */
      200: {
        headers: {
          'Cache-Control': components['headers']['Cache-Control-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          [name: string]: unknown;
        };
        content: {
          /**
           * @example event: leaderboard:snapshot
           *     id: 42
           *     data: {"leaderboard":"game1","period":"weekly","periodStart":"2026-03-02T00:00:00.000Z","periodEnd":"2026-03-09T00:00:00.000Z","version":42,"total":1250,"updatedAt":"2026-03-02T18:30:00.000Z","state":"open","closedAt":"2026-04-01T00:00:00.000Z","correctedAt":"2026-03-02T18:30:00.000Z","entries":[{"rank":3,"userId":"01980f3a-6c1e-7b44-9d52-0f4a1c8e2b10","username":"ada","avatarUrl":"https://images.example.org/ada.png","score":150,"updatedAt":"2026-03-02T18:30:00.000Z"}]}
           */
          'text/event-stream': string;
        };
      };
      /** @description `INVALID_REQUEST`: The request is not valid */
      400: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAUTHENTICATED`: Authentication is required. `TOKEN_EXPIRED`: The access token has expired */
      401: {
        headers: {
          'WWW-Authenticate': components['headers']['WWW-Authenticate-optional'];
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_BANNED`: The user is banned */
      403: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `USER_NOT_FOUND`: Unknown user. `LEADERBOARD_NOT_FOUND`: Unknown leaderboard */
      404: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `METHOD_NOT_ALLOWED`: The method is not allowed here */
      405: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          Allow: components['headers']['Allow'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `RATE_LIMITED`: Too many requests */
      429: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `INTERNAL_ERROR`: Something went wrong */
      500: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
      /** @description `UNAVAILABLE`: Temporarily unavailable */
      503: {
        headers: {
          RateLimit: components['headers']['RateLimit-optional'];
          'RateLimit-Policy': components['headers']['RateLimit-Policy-optional'];
          'X-Request-Id': components['headers']['X-Request-Id'];
          'Cache-Control': components['headers']['Cache-Control'];
          'Retry-After': components['headers']['Retry-After'];
          [name: string]: unknown;
        };
        content: {
          'application/problem+json': components['schemas']['Problem'];
        };
      };
    };
  };
}
