//! What every HTTP role shares: keys and scopes, problem details, limits on a request.
