(function_definition) @function
(declaration declarator: (function_declarator)) @function
(declaration declarator: (pointer_declarator declarator: (function_declarator))) @function
(declaration declarator: (reference_declarator (function_declarator))) @function
(field_declaration declarator: (function_declarator)) @function
(field_declaration declarator: (pointer_declarator declarator: (function_declarator))) @function
(field_declaration declarator: (reference_declarator (function_declarator))) @function
(class_specifier name: (_) @name body: (_)) @class
(struct_specifier name: (_) @name body: (_)) @struct
(union_specifier name: (_) @name body: (_)) @struct
(enum_specifier name: (_) @name body: (_)) @enum
(namespace_definition name: (_) @name) @container
(concept_definition name: (_) @name) @concept
(alias_declaration name: (_) @name) @type
(type_definition declarator: (type_identifier) @name) @type
(preproc_function_def name: (_) @name) @macro
(preproc_def name: (_) @name value: (_)) @constant
