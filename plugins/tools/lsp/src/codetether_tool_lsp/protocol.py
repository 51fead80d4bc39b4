"""The protocol's types (lsprotocol) and what we say of ourselves. Importing this takes half a second: see `load`."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from lsprotocol import converters, types

from codetether_tool_lsp.positions import ENCODINGS

__all__ = ["capabilities", "initialize", "plain", "read", "types"]

_converter = converters.get_converter()
KINDS = list(types.SymbolKind)


def plain(params: Any) -> Any:
    """What a struct of the protocol is as JSON."""
    return _converter.unstructure(params)


def read(raw: Any, kind: Any) -> Any:
    """JSON as a type of the protocol. Raises ValueError when it is none: a server said something odd."""
    try:
        return _converter.structure(raw, kind)
    except Exception as error:
        raise ValueError(
            f"it sent something that is no {getattr(kind, '__name__', kind)}"
        ) from error


def initialize(root: Path, options: Any) -> Any:
    """The parameters of `initialize`. No process id: in a sandbox of its own a server would not find us, and leave."""
    folder = types.WorkspaceFolder(uri=root.as_uri(), name=root.name)
    return plain(
        types.InitializeParams(
            capabilities=capabilities(),
            process_id=None,
            client_info=types.ClientInfo(name="codetether", version=version("codetether-core")),
            root_uri=root.as_uri(),
            root_path=str(root),
            workspace_folders=[folder],
            initialization_options=options or None,
        )
    )


def capabilities() -> types.ClientCapabilities:
    """What we can."""
    text = [types.MarkupKind.PlainText, types.MarkupKind.Markdown]
    symbols = types.ClientSymbolKindOptions(value_set=KINDS)
    actions = [
        types.CodeActionKind.QuickFix,
        types.CodeActionKind.Refactor,
        types.CodeActionKind.Source,
    ]
    return types.ClientCapabilities(
        general=types.GeneralClientCapabilities(
            position_encodings=[types.PositionEncodingKind(name) for name in ENCODINGS],
        ),
        window=types.WindowClientCapabilities(work_done_progress=True),
        workspace=types.WorkspaceClientCapabilities(
            apply_edit=True,
            workspace_edit=types.WorkspaceEditClientCapabilities(
                document_changes=True,
                resource_operations=list(types.ResourceOperationKind),
                failure_handling=types.FailureHandlingKind.Abort,
            ),
            did_change_configuration=types.DidChangeConfigurationClientCapabilities(),
            did_change_watched_files=types.DidChangeWatchedFilesClientCapabilities(
                dynamic_registration=True, relative_pattern_support=True
            ),
            symbol=types.WorkspaceSymbolClientCapabilities(symbol_kind=symbols),
            configuration=True,
            workspace_folders=True,
            diagnostics=types.DiagnosticWorkspaceClientCapabilities(refresh_support=True),
        ),
        text_document=types.TextDocumentClientCapabilities(
            synchronization=types.TextDocumentSyncClientCapabilities(did_save=True),
            completion=types.CompletionClientCapabilities(
                completion_item=types.ClientCompletionItemOptions(snippet_support=False)
            ),
            hover=types.HoverClientCapabilities(content_format=text),
            definition=types.DefinitionClientCapabilities(link_support=False),
            type_definition=types.TypeDefinitionClientCapabilities(link_support=False),
            implementation=types.ImplementationClientCapabilities(link_support=False),
            references=types.ReferenceClientCapabilities(),
            document_symbol=types.DocumentSymbolClientCapabilities(
                symbol_kind=symbols, hierarchical_document_symbol_support=True
            ),
            code_action=types.CodeActionClientCapabilities(
                code_action_literal_support=types.ClientCodeActionLiteralOptions(
                    types.ClientCodeActionKindOptions(actions)
                ),
                is_preferred_support=True,
                disabled_support=True,
                data_support=True,
                resolve_support=types.ClientCodeActionResolveOptions(["edit"]),
            ),
            rename=types.RenameClientCapabilities(prepare_support=True),
            publish_diagnostics=types.PublishDiagnosticsClientCapabilities(version_support=True),
            diagnostic=types.DiagnosticClientCapabilities(dynamic_registration=True),
            call_hierarchy=types.CallHierarchyClientCapabilities(),
        ),
    )
