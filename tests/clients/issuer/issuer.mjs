// An OpenID Connect issuer: oidc-provider, which the OpenID Foundation has certified.
//
// Usage: `issuer.mjs PORT RETURN_ADDRESS GRANTS`. It listens on 127.0.0.1, redirects people back to
// this address and signs in anyone who enters a name. The part of the name before the hyphen is the
// person's group: `dev-ada` is in `dev`. The client `machine` gets JWT access tokens for the
// audience `urn:tidings`. It appends the type of each grant that it issues to the file GRANTS.

import { appendFileSync } from "node:fs";
import { createServer } from "node:http";
import Provider from "oidc-provider";

const [port, returnAddress, grants] = process.argv.slice(2);
const claimsOf = (id) => ({
  sub: id,
  email: `${id}@example.com`,
  email_verified: true,
  groups: [id.split("-")[0]],
});

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: "tidings",
      client_secret: "a secret: +%&",
      application_type: "native",
      grant_types: ["authorization_code", "refresh_token"],
      redirect_uris: [`${returnAddress}/sign-in/callback`],
      post_logout_redirect_uris: [`${returnAddress}/`],
    },
    {
      client_id: "machine",
      client_secret: "the secret of a machine",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    },
  ],
  claims: { openid: ["sub", "groups"], email: ["email", "email_verified"] },
  conformIdTokenClaims: false,
  cookies: { keys: ["only for tests"] },
  features: {
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => "urn:tidings",
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: "",
        audience: "urn:tidings",
        accessTokenFormat: "jwt",
        accessTokenTTL: 600,
      }),
    },
  },
  issueRefreshToken: (_, client) => client.grantTypeAllowed("refresh_token"),
  // The lifetime in seconds. It is so short that the next request renews the token.
  ttl: { IdToken: 1 },
  extraTokenClaims: () => ({ groups: ["send"] }),
  findAccount: (_, id) => ({ accountId: id, claims: () => claimsOf(id) }),
});

provider.on("grant.success", (ctx) => appendFileSync(grants, `${ctx.oidc.params.grant_type}\n`));
createServer(provider.callback()).listen(Number(port), "127.0.0.1");
